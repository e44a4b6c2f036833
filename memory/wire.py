"""Records to JSON and back, through pydantic's validation of dataclasses.

The JSON is ASCII, so that text which is not valid Unicode (half a surrogate pair in a program's output) survives too.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter

Record = TypeVar("Record")


@cache
def _adapter(record_type: Any) -> TypeAdapter[Any]:
    return TypeAdapter(record_type)


def to_plain(record: object) -> Any:
    """The record as JSON-compatible Python data; keys whose value is None are kept."""
    return _adapter(cast(Any, type(record))).dump_python(record, mode="json")


def to_json(record: object) -> str:
    """Compact JSON of a record."""
    return json.dumps(to_plain(record), separators=(",", ":"))


def from_json(record_type: type[Record], data: str) -> Record:
    """Read a record back. Raises pydantic.ValidationError if the JSON has another shape."""
    record: Record = _adapter(cast(Any, record_type)).validate_python(json.loads(data))
    return record
