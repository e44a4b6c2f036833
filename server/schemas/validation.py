"""Pydantic's complaints as one `ApiError` that names the field and, for a misspelt key, the nearest valid one."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from server.errors import ApiError, bad_request

Model = TypeVar("Model", bound=BaseModel)


def parse(model: type[Model], body: object, known_keys: Sequence[str] = ()) -> Model:
    """Validate `body`. Raises ApiError 400. `known_keys` are offered for an unknown key."""
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise explain(error.errors()[0], known_keys or list(model.model_fields)) from error


def explain(problem: Mapping[str, Any], known_keys: Sequence[str]) -> ApiError:
    """One pydantic error as an answer."""
    place = ".".join(str(part) for part in problem["loc"]) or "body"
    if problem["type"] == "extra_forbidden":
        close = difflib.get_close_matches(str(problem["loc"][-1]), known_keys, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; known keys: {', '.join(known_keys)}"
        return bad_request(f"unknown key {place!r}{hint}", param=place)
    if place == "messages" and problem["type"] == "too_short":
        return bad_request("messages is empty; send at least one message", param=place)
    return bad_request(f"{place}: {problem['msg']}", param=place)
