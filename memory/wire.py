"""Records to JSON and back, through pydantic's validation of dataclasses."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter

Record = TypeVar("Record")


@cache
def _adapter(record_type: Any) -> TypeAdapter[Any]:
    return TypeAdapter(record_type)


def to_json(record: object) -> bytes:
    """Compact JSON of a record."""
    return _adapter(cast(Any, type(record))).dump_json(record)


def to_plain(record: object) -> Any:
    """The record as JSON-compatible Python data; keys whose value is None are kept."""
    return _adapter(cast(Any, type(record))).dump_python(record, mode="json")


def from_json(record_type: type[Record], data: bytes | str) -> Record:
    """Read a record back. Raises pydantic.ValidationError if the JSON has another shape."""
    record: Record = _adapter(cast(Any, record_type)).validate_json(data)
    return record
