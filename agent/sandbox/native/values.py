"""Values of programs in other languages: told as tagged JSON, compared here, away from the program.

A value is a JSON scalar or a list whose first item is a tag:

    l s       list, set                   d   mapping: key, value, key, value ...
    u         JavaScript's undefined      i   integer beyond a double (hex)
    x         no plain data: its class and a short text; equal to nothing
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass

from agent.sandbox import compare
from agent.sandbox.testimony import text
from agent.sandbox.wire.codec import MAX_DEPTH, Json, Malformed

_TEXT = 500
_FEW = 300
"""So many members are compared with one another where their order is unknown; more only after sorting."""


class Undefined:
    """JavaScript's `undefined`."""


UNDEFINED = Undefined()


class Members(tuple[object, ...]):
    """A set; its members need not be hashable."""


@dataclass(frozen=True, slots=True)
class Opaque:
    """What is not plain data."""

    type: str
    text: str


def decode(wire: Json, depth: int = 0) -> object:
    """The value that a harness told. Raises Malformed."""
    if type(wire) is not list:
        if wire is None or type(wire) in (bool, int, float, str):
            return wire
        raise Malformed("a value is neither a scalar nor a list")
    if depth > MAX_DEPTH + 2 or not wire:
        raise Malformed(f"nested deeper than {MAX_DEPTH}, or without a tag")
    tag, *held = wire
    match tag:
        case "l":
            return [decode(item, depth + 1) for item in held]
        case "s":
            return Members(decode(item, depth + 1) for item in held)
        case "d":
            return _mapping([decode(item, depth + 1) for item in held])
        case "u":
            return UNDEFINED
        case "i" if len(held) == 1 and type(held[0]) is str:
            return _integer(held[0])
        case "x" if len(held) == 2:
            return Opaque(text(held[0], _TEXT), text(held[1], _TEXT))
    raise Malformed("unknown tag")


def _mapping(flat: list[object]) -> object:
    keys = flat[::2]
    if len(flat) % 2 or not all(key is None or type(key) in (bool, int, float, str) for key in keys):
        return Opaque("mapping", "a mapping whose keys are no scalars")
    found = dict(zip(keys, flat[1::2], strict=True))
    if len(found) != len(keys):
        return Opaque("mapping", "a mapping with equal keys")
    return found


def _integer(digits: str) -> int:
    try:
        return int(digits, 16)
    except ValueError as error:
        raise Malformed(str(error)) from None


def same(actual: object, expected: object) -> bool:
    """Whether an actual value is the expected one: by value, numbers as `compare` has it, but `true` is no 1; null and
    undefined both are null; a set equals a list with its members in any order."""
    match expected:
        case None:
            return actual is None or actual is UNDEFINED
        case Undefined():
            return actual is UNDEFINED
        case bool():
            return actual is expected
        case int() | float():
            return type(actual) in (int, float) and compare.same_value(actual, expected)
        case str():
            return actual == expected
        case Members():
            return _same_members(actual, expected) if isinstance(actual, Members) else _same_items(actual, expected)
        case list():
            return _same_members(actual, expected) if isinstance(actual, Members) else _same_items(actual, expected)
        case dict():
            return _same_mapping(actual, expected)
    return False


def _same_items(actual: object, expected: list[object] | Members) -> bool:
    return isinstance(actual, list) and len(actual) == len(expected) and all(map(same, actual, expected))


def _same_members(actual: Members, expected: list[object] | Members) -> bool:
    if len(actual) != len(expected):
        return False
    by_text: Callable[[object], str] = shown
    if all(map(same, sorted(actual, key=by_text), sorted(expected, key=by_text))):
        return True
    left = list(actual)
    if len(left) > _FEW:
        return False
    for wanted in expected:
        found = next((index for index, item in enumerate(left) if same(item, wanted)), None)
        if found is None:
            return False
        del left[found]
    return True


def _same_mapping(actual: object, expected: dict[object, object]) -> bool:
    if not isinstance(actual, dict) or len(actual) != len(expected):
        return False
    by_key = {_key(key): value for key, value in actual.items()}
    return len(by_key) == len(actual) and all(
        _key(key) in by_key and same(by_key[_key(key)], value) for key, value in expected.items()
    )


def _key(key: object) -> str:
    """A key as JSON has it."""
    return key if isinstance(key, str) else shown(key)


def shown(value: object) -> str:
    """A value as text, JSON where it is one."""
    match value:
        case Undefined():
            return "undefined"
        case Opaque():
            return value.text or f"<{value.type}>"
        case float() if math.isnan(value):
            return "NaN"
        case float() if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        case float() if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
        case list() | Members():
            inside = ", ".join(map(shown, value))
            return f"{{{inside}}}" if isinstance(value, Members) else f"[{inside}]"
        case dict():
            return "{" + ", ".join(f"{shown(key)}: {shown(held)}" for key, held in value.items()) + "}"
        case int() if not isinstance(value, bool) and value.bit_length() > 10_000:
            return f"an integer of {value.bit_length()} bits"
    return json.dumps(value, ensure_ascii=False)
