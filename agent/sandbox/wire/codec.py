"""Plain data across the wall between a program and those who judge it, as tagged JSON.

A value is a JSON scalar (None, bool, int, float, str) or a list whose first item is a tag:

    l t s z   list, tuple, set, frozenset          d      dict: key, value, key, value ...
    b B       bytes, bytearray (base64)            i      int of more than 64 bits (hex)
    c D F     complex, Decimal, Fraction           r q    range, deque
    T         date, time, datetime, timedelta      n      numpy array: dtype, nested list
    k O       Counter, OrderedDict (as dict)       e      defaultdict: what makes values, dict
    S         slice                                N      named tuple: class, fields, values
    g         a built-in type or pure function by name
    h         a reference made by `export`, read by `resolve`
    @ o M     see `containers`

A subclass of int, float, str, bytes, list, tuple, set or dict travels as its plain base value, read without running its
code. Anything else is handed to `export`; without one it raises Unserialisable. Standard library only: this module runs
inside the jail.
"""

from __future__ import annotations

import base64
import builtins
import collections
import datetime
import decimal
import fractions
from collections.abc import Callable, Iterable
from typing import Any

MAX_NODES = 1_000_000
MAX_DEPTH = 100

Json = Any
"""What `json` reads and writes."""
Export = Callable[[object], list[Json]]
"""Reference for an object that stays where it is: a list whose first item is "h"."""

SCALARS = frozenset({int, float, str, bool, type(None)})
_PURE = frozenset(
    ("abs", "all", "any", "chr", "divmod", "hash", "hex", "len", "max", "min", "ord", "pow", "repr", "round",
     "sorted", "sum")
)  # fmt: skip
GLOBALS: dict[str, object] = {
    name: value for name, value in vars(builtins).items() if name in _PURE or isinstance(value, type)
}
_GLOBAL_NAMES = {id(value): name for name, value in GLOBALS.items()}
_SMALL = 1 << 63


class Unserialisable(Exception):
    """The value is not plain data or exceeds the limits."""


class Malformed(Exception):
    """Received bytes are not a message, or exceed the limits."""


class TooMuch(Malformed):
    """A value that may well be one, but exceeds the limits of decoding."""


def encode(value: object, export: Export | None = None) -> Json:
    """`value` as `{"v": tagged value}`. Raises Unserialisable."""
    if type(value) in SCALARS:
        return {"v": _integer(value) if type(value) is int else value}
    return {"v": Encoder(export).value(value, 0)}


class Encoder:
    """Values of one message → tagged JSON. `share` is asked for what stands for a mutable container or an object that
    travels by structure; None: it is told here. `mirror` is asked for a reference to an instance of a class
    below a built-in one, or what comes before its plain value, in the end a list."""

    def __init__(
        self,
        export: Export | None,
        share: Callable[[object], Json] | None = None,
        mirror: Callable[[object], list[Json] | None] = lambda value: None,
    ) -> None:
        self._export = export
        self.share = share
        self._mirror = mirror
        self._left = MAX_NODES

    def spend(self, nodes: int) -> None:
        """Raises Unserialisable if there are too many in this message."""
        self._left -= nodes
        if self._left < 0:
            raise Unserialisable(f"more than {MAX_NODES} values")

    def items(self, tag: str, values: Iterable[object], depth: int) -> list[Json]:
        """`tag` and the encoded values."""
        held = list(values)
        self.spend(len(held))
        out: list[Json] = [tag]
        if set(map(type, held)) <= SCALARS and all(type(item) is not int or -_SMALL <= item < _SMALL for item in held):
            out += held
            return out
        out += [self.value(item, depth + 1) for item in held]
        return out

    def value(self, value: object, depth: int) -> Json:
        """One value, so deep within others."""
        if depth > MAX_DEPTH:
            raise Unserialisable(f"nested deeper than {MAX_DEPTH}")
        kind = type(value)
        if kind is int:
            return _integer(int.__index__(value))  # type: ignore[arg-type]
        if kind in SCALARS:
            return value
        handler = _EXACT.get(kind)
        if handler is not None:
            if self.share is not None and kind in MUTABLE and (known := self.share(value)) is not None:
                self.spend(1)
                return known
            return handler(self, value, depth)
        if kind.__module__ == "numpy":
            return self._numpy(value, depth)
        return self._other(value, depth)

    def _numpy(self, value: Any, depth: int) -> Json:
        if type(value).__name__ == "ndarray":
            self.spend(int(value.size))
            return ["n", str(value.dtype), Encoder(self._export).value(value.tolist(), depth + 1)]
        plain = value.item() if hasattr(value, "item") else value
        return self._other(value, depth) if type(plain) is type(value) else self.value(plain, depth + 1)

    def _other(self, value: object, depth: int) -> Json:
        if self.share is not None and (known := self.share(value)) is not None:
            self.spend(1)
            return known
        if isinstance(value, tuple):
            fields = getattr(type(value), "_fields", None)
            if type(fields) is tuple and all(type(name) is str for name in fields):
                values = self.items("t", tuple.__iter__(value), depth)
                return ["N", type(value).__name__, list(fields), values]
        if id(value) in _GLOBAL_NAMES:
            return ["g", _GLOBAL_NAMES[id(value)]]
        if self._export is not None and _is_enum(value):
            return self._export(value)
        for base, handler in _SUBCLASSES:
            if isinstance(value, base):
                told = self._mirror(value)
                if told is None or told[0] == "h":
                    return told or handler(self, value, depth)
                self.spend(len(told) + len(told[-1]))
                return [*told, handler(self, value, depth)]
        if self._export is not None:
            return self._export(value)
        raise Unserialisable(f"a value of type {type(value).__name__} is not plain data")


def _is_enum(value: object) -> bool:
    return any(kind.__module__ == "enum" and kind.__name__ == "Enum" for kind in type(value).__mro__)


def _integer(value: int) -> Json:
    return value if -_SMALL <= value < _SMALL else ["i", hex(value)]


def _dict(encoder: Encoder, value: dict[object, object], depth: int, tag: str = "d") -> Json:
    flat: list[object] = []
    for key, item in dict.items(value):
        flat += (key, item)
    return encoder.items(tag, flat, depth)


def _defaultdict(encoder: Encoder, value: collections.defaultdict[object, object], depth: int) -> Json:
    factory = value.default_factory
    if encoder.share is None and id(factory) not in _GLOBAL_NAMES:
        return _dict(encoder, value, depth)
    return ["e", encoder.value(factory, depth + 1), _dict(encoder, value, depth)]


_Handler = Callable[[Encoder, Any, int], Json]

_EXACT: dict[type, _Handler] = {
    list: lambda encoder, value, depth: encoder.items("l", value, depth),
    tuple: lambda encoder, value, depth: encoder.items("t", value, depth),
    set: lambda encoder, value, depth: encoder.items("s", value, depth),
    frozenset: lambda encoder, value, depth: encoder.items("z", value, depth),
    dict: _dict,
    collections.Counter: lambda encoder, value, depth: _dict(encoder, value, depth, "k"),
    collections.OrderedDict: lambda encoder, value, depth: _dict(encoder, value, depth, "O"),
    collections.defaultdict: _defaultdict,
    slice: lambda encoder, value, depth: encoder.items("S", (value.start, value.stop, value.step), depth),
    bytes: lambda encoder, value, depth: ["b", base64.b64encode(value).decode("ascii")],
    bytearray: lambda encoder, value, depth: ["B", base64.b64encode(value).decode("ascii")],
    complex: lambda encoder, value, depth: ["c", value.real, value.imag],
    decimal.Decimal: lambda encoder, value, depth: ["D", str(value)],
    fractions.Fraction: lambda encoder, value, depth: ["F", hex(value.numerator), hex(value.denominator)],
    range: lambda encoder, value, depth: ["r", *map(_integer, (value.start, value.stop, value.step))],
    collections.deque: lambda encoder, value, depth: ["q", value.maxlen, encoder.items("l", value, depth)],
    datetime.date: lambda encoder, value, depth: ["T", "date", value.isoformat()],
    datetime.time: lambda encoder, value, depth: ["T", "time", value.isoformat()],
    datetime.datetime: lambda encoder, value, depth: ["T", "datetime", value.isoformat()],
    datetime.timedelta: lambda encoder, value, depth: [
        "T", "timedelta", value.days, value.seconds, value.microseconds,
    ],
}  # fmt: skip

MUTABLE = frozenset(
    (list, set, dict, bytearray, collections.deque, collections.Counter, collections.OrderedDict,
     collections.defaultdict)
)  # fmt: skip
"""Classes of containers whose exact instances can be changed."""

_SUBCLASSES: tuple[tuple[type, _Handler], ...] = (
    (int, lambda encoder, value, depth: _integer(int.__add__(value, 0))),
    (float, lambda encoder, value, depth: float.__float__(value)),
    (str, lambda encoder, value, depth: str.__str__(value)),
    (bytes, lambda encoder, value, depth: ["b", base64.b64encode(bytes.__getitem__(value, slice(None))).decode()]),
    (list, lambda encoder, value, depth: encoder.items("l", list.__iter__(value), depth)),
    (tuple, lambda encoder, value, depth: encoder.items("t", tuple.__iter__(value), depth)),
    (set, lambda encoder, value, depth: encoder.items("s", set.__iter__(value), depth)),
    (frozenset, lambda encoder, value, depth: encoder.items("z", frozenset.__iter__(value), depth)),
    (dict, _dict),
)
