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
from collections.abc import Callable, Mapping
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


def decode(
    wire: Json,
    resolve: Resolve | None = None,
    shared: Mapping[str, type] | None = None,
    *,
    arrays: bool = False,
    work: Work | None = None,
) -> object:
    """The value in what `encode` made; with `arrays` numpy arrays come back as such, else as lists. Raises Malformed,
    also where `work` does not suffice.

    Without `resolve` a reference raises Malformed. Shared classes are created without calling them.
    """
    try:
        classes = shared or {}
        objects: list[object] = [object.__new__(classes[name]) for name, _ in wire["o"]]
        decoder = _Decoder(resolve, objects, arrays, work)
        for item, (_, attributes) in zip(objects, wire["o"], strict=True):
            for name, attribute in decoder.mapping(attributes, 0).items():
                _give(item, str(name), attribute)
        return decoder.value(wire["v"], 0)
    except Malformed:
        raise
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, ArithmeticError, OverflowError) as error:
        raise Malformed(f"not a tagged value: {type(error).__name__}: {error}") from None


def _give(item: object, name: str, attribute: object) -> None:
    """Set an attribute, unless it would hide what the class of `item` does."""
    hidden = next((kind.__dict__[name] for kind in type(item).__mro__ if name in kind.__dict__), None)
    if name.startswith("__") or callable(hidden) or isinstance(hidden, classmethod | staticmethod):
        raise Malformed(f"an attribute where the class has {name[:100]!r}")
    setattr(item, name, attribute)


def decode_scalar(wire: Json) -> object:
    """As `decode`, of a number, a text or None. Raises Malformed."""
    held = wire.get("v") if type(wire) is dict else []
    if type(held) not in SCALARS and not (type(held) is list and held[:1] == ["i"]):
        raise Malformed("neither a number nor a text")
    return decode(wire)


class _Decoder:
    def __init__(self, resolve: Resolve | None, objects: list[object], arrays: bool, work: Work | None) -> None:
        self._resolve = resolve
        self._objects = objects
        self._arrays = arrays
        self._work = work
        self._kinds: dict[Json, Any] = {}
        self._fields = 0

    def mapping(self, wire: Json, depth: int) -> dict[object, object]:
        found = self.value(wire, depth)
        if type(found) is not dict:
            raise Malformed("attributes are not a mapping")
        return found

    def value(self, wire: Json, depth: int) -> object:
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
            return self._items(wire, depth)
        if tag == "t":
            return tuple(self._items(wire, depth))
        if tag == "d":
            return self._pairs(wire, depth)
        if tag == "s":
            return set(self._members(wire, depth))
        if tag == "z":
            return frozenset(self._members(wire, depth))
        if tag == "o":
            return self._objects[_natural(wire[1])]
        if tag == "h":
            if self._resolve is None:
                raise Malformed("a reference where plain data was expected")
            return self._resolve(wire)
        return self._rare(tag, wire, depth)

    def _pairs(self, wire: list[Json], depth: int) -> dict[object, object]:
        flat = self._items(wire, depth)
        keys = flat[::2]
        if self._work is not None:
            self._work.of_dict(keys)
        return dict(zip(keys, flat[1::2], strict=True))

    def _members(self, wire: list[Json], depth: int) -> list[object]:
        members = self._items(wire, depth)
        if self._work is not None:
            self._work.of_set(members)
        return members

    def _items(self, wire: list[Json], depth: int) -> list[object]:
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
            made: Any = GLOBALS[wire[1]]
            return collections.defaultdict(made, self.mapping(wire[2], depth + 1))
        if tag == "S":
            start, stop, step = self._items(wire, depth)
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
            bounds: list[Any] = self._items(wire, depth)
            return range(*bounds)
        if tag == "q":
            return collections.deque(self._list(wire[2], depth), wire[1])
        if tag == "T":
            if wire[1] == "timedelta":
                return datetime.timedelta(*wire[2:])
            kind: Any = _TIMES[wire[1]]
            return kind.fromisoformat(wire[2])
        if tag == "g":
            return GLOBALS[wire[1]]
        if tag == "n":
            held = self._list(wire[2], depth) if type(wire[2]) is list else self.value(wire[2], depth)
            return _array(held, _text(wire[1], _MAX_NAME)) if self._arrays else held
        if tag == "N":
            return self._named_tuple(wire, depth)
        raise Malformed("unknown tag")

    def _list(self, wire: Json, depth: int) -> list[object]:
        if type(wire) is not list or wire[0] != "l":
            raise Malformed("items that are no list")
        return self._items(wire, depth + 1)

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


def _natural(index: Json) -> int:
    if type(index) is not int or index < 0:
        raise Malformed("an index is not a natural number")
    return index


def _array(held: object, dtype: str) -> object:
    try:
        import numpy  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return held
    made: object = numpy.array(held, dtype=dtype)
    return made
