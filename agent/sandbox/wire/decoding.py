"""From tagged JSON, as `codec` describes it, to the value that it stands for.

Standard library only: this module runs inside the jail.
"""

from __future__ import annotations

import base64
import collections
import datetime
import decimal
import fractions
import functools
from collections.abc import Callable
from typing import Any

from agent.sandbox.wire.codec import GLOBALS, MAX_DEPTH, SCALARS, Json, Malformed, TooMuch
from agent.sandbox.wire.work import Work

Resolve = Callable[[list[Json]], object]
"""The object behind a reference."""

_MAX_FRACTION = 2_000
_MAX_FIELDS = 500
"""Of all classes of named tuples in one message."""
_FREQUENT = frozenset({"l", "t", "d"})
_FREQUENT_STEPS, _RARE_STEPS = 5, 10
"""Of `Work`, for a value of these kinds and of every other."""
_MAX_NAME = 1000
_TIMES = {"date": datetime.date, "time": datetime.time, "datetime": datetime.datetime}


def decode(wire: Json, resolve: Resolve | None = None, *, arrays: bool = False, work: Work | None = None) -> object:
    """The value in what `encode` made; with `arrays` numpy arrays come back as such, else as lists. Without `resolve` a
    reference raises Malformed. Raises Malformed, also where `work` does not suffice."""
    try:
        return Decoder(resolve, work, arrays=arrays).value(wire["v"], 0)
    except NOT_TAGGED as error:
        raise not_tagged(error) from None


NOT_TAGGED = (TypeError, ValueError, KeyError, IndexError, AttributeError, ArithmeticError)
"""What reading something else than a tagged value raises."""


def not_tagged(error: Exception) -> Malformed:
    """What it means."""
    return Malformed(f"not a tagged value: {type(error).__name__}: {error}")


def decode_scalar(wire: Json) -> object:
    """As `decode`, of a number, a text or None. Raises Malformed."""
    held = wire.get("v") if type(wire) is dict else []
    if type(held) not in SCALARS and not (type(held) is list and held[:1] == ["i"]):
        raise Malformed("neither a number nor a text")
    return decode(wire)


class Decoder:
    """Tagged JSON of one message → values."""

    def __init__(self, resolve: Resolve | None, work: Work | None = None, *, arrays: bool = False) -> None:
        self._resolve = resolve
        self._work = work
        self._arrays = arrays
        self._kinds: dict[Json, Any] = {}
        self._fields = 0

    def value(self, wire: Json, depth: int) -> object:
        """One value, so deep within others."""
        if type(wire) is not list:
            if type(wire) in SCALARS:
                return wire
            raise Malformed("a value is neither a scalar nor a list")
        if depth > MAX_DEPTH + 2:
            raise Malformed(f"nested deeper than {MAX_DEPTH}")
        tag = wire[0]
        if self._work is not None:
            self._work.spend(_FREQUENT_STEPS if tag in _FREQUENT else _RARE_STEPS)
        if tag == "l":
            return self.items(wire, depth)
        if tag == "t":
            return tuple(self.items(wire, depth))
        if tag == "d":
            return self._pairs(wire, depth)
        if tag == "s":
            return set(self._members(wire, depth))
        if tag == "z":
            return frozenset(self._members(wire, depth))
        if tag == "h":
            if self._resolve is None:
                raise Malformed("a reference where plain data was expected")
            return self._resolve(wire)
        return self._rare(tag, wire, depth)

    def _pairs(self, wire: list[Json], depth: int) -> dict[object, object]:
        flat = self.items(wire, depth)
        keys = flat[::2]
        if self._work is not None:
            self._work.of_dict(keys)
        return dict(zip(keys, flat[1::2], strict=True))

    def _members(self, wire: list[Json], depth: int) -> list[object]:
        members = self.items(wire, depth)
        if self._work is not None:
            self._work.of_set(members)
        return members

    def items(self, wire: list[Json], depth: int) -> list[object]:
        """The values behind a tag."""
        return [item if type(item) in SCALARS else self.value(item, depth + 1) for item in wire[1:]]

    def _rare(self, tag: Json, wire: list[Json], depth: int) -> object:
        if tag == "i":
            return int(wire[1], 16)
        if tag == "k":
            counted: dict[object, Any] = self._pairs(wire, depth)
            return collections.Counter(counted)
        if tag == "O":
            return collections.OrderedDict(self._pairs(wire, depth))
        if tag == "e":
            makes: Any = self.value(wire[1], depth + 1)
            return collections.defaultdict(makes, self._pairs(wire[2], depth + 1))
        if tag == "S":
            start, stop, step = self.items(wire, depth)
            return slice(start, stop, step)
        if tag == "b":
            return base64.b64decode(wire[1], validate=True)
        if tag == "B":
            return bytearray(base64.b64decode(wire[1], validate=True))
        if tag == "c":
            return complex(wire[1], wire[2])
        if tag == "D":
            return decimal.Decimal(wire[1])
        if tag == "F":
            if len(wire[1]) + len(wire[2]) > _MAX_FRACTION:
                raise TooMuch("a fraction is too long to be reduced")
            return fractions.Fraction(int(wire[1], 16), int(wire[2], 16))
        if tag == "r":
            bounds: list[Any] = self.items(wire, depth)
            return range(*bounds)
        if tag == "q":
            return collections.deque(self.listed(wire[2], depth), wire[1])
        if tag == "T":
            if wire[1] == "timedelta":
                return datetime.timedelta(*wire[2:])
            kind: Any = _TIMES[wire[1]]
            return kind.fromisoformat(wire[2])
        if tag == "g":
            return GLOBALS[wire[1]]
        if tag == "n":
            held = self.listed(wire[2], depth) if type(wire[2]) is list else self.value(wire[2], depth)
            return _array(held, _text(wire[1], _MAX_NAME)) if self._arrays else held
        if tag == "N":
            return self._named_tuple(wire, depth)
        raise Malformed("unknown tag")

    def listed(self, wire: Json, depth: int) -> list[object]:
        """The items of a list that stands within another value."""
        if type(wire) is not list or wire[0] != "l":
            raise Malformed("items that are no list")
        return self.items(wire, depth + 1)

    def _named_tuple(self, wire: list[Json], depth: int) -> object:
        _, name, fields, values = wire
        held = self.value(values, depth + 1)
        if type(held) is not tuple or type(fields) is not list or any(type(field) is not str for field in fields):
            raise Malformed("a named tuple holds no tuple")
        key = (_text(name, _MAX_NAME), tuple(fields))
        kind = self._kinds.get(key)
        if kind is None:
            self._fields += 10 + sum(1 + len(field) // 10 for field in fields)
            if self._fields > _MAX_FIELDS:
                raise TooMuch("too many kinds of named tuples")
            kind = self._kinds[key] = _named_tuple_class(*key)
        return kind(*held)


@functools.lru_cache(maxsize=64)
def _named_tuple_class(name: str, fields: tuple[str, ...]) -> Any:
    try:
        return collections.namedtuple(name if name.isidentifier() else "Record", fields, rename=True)
    except SyntaxError as error:
        raise Malformed(f"names of fields: {error.msg}") from None


def _text(wire: Json, longest: int) -> str:
    if type(wire) is not str or len(wire) > longest:
        raise Malformed("a name is no text, or too long a one")
    return wire


def _array(held: object, dtype: str) -> object:
    try:
        import numpy  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return held
    made: object = numpy.array(held, dtype=dtype)
    return made
