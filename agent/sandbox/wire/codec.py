"""Plain data across the wall between a program and those who judge it: tagged JSON in length-prefixed frames.

A value is a JSON scalar (None, bool, int, float, str) or a list whose first item is a tag:

    l t s z   list, tuple, set, frozenset          d      dict: key, value, key, value ...
    b B       bytes, bytearray (base64)            i      int of more than 64 bits (hex)
    c D F     complex, Decimal, Fraction           r q    range, deque
    T         date, time, datetime, timedelta      n      numpy array: dtype, nested list
    k O       Counter, OrderedDict (as dict)       e      defaultdict: built-in type that makes values, dict
    S         slice                                o      index into the message's table of shared objects
    N         named tuple: class, fields, values
    g         a built-in type or pure function by name
    h         a reference made by `export`, read by `resolve`

A subclass of int, float, str, bytes, list, tuple, set or dict travels as its plain base value, read without running its
code. Anything else is handed to `export`; without one it raises Unserialisable. Instances of shared classes (those the
problem statement gives, such as a list node) travel by structure through the table, so long chains need no depth.
Standard library only: this module runs inside the jail.
"""

from __future__ import annotations

import base64
import builtins
import collections
import datetime
import decimal
import fractions
import functools
import json
import json.encoder
import re
import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any

MAX_BYTES = 8 * 1024 * 1024
MAX_NODES = 1_000_000
MAX_DEPTH = 100
HEADER = struct.Struct(">I")

_to_json: Any = json.encoder.c_make_encoder(  # type: ignore[attr-defined]
    None, None, json.encoder.encode_basestring_ascii, None, ":", ",", False, False, True
)
_from_json: Any = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
"""What `json` uses inside, made once: a program's process is so short that making them anew would be felt."""

Json = Any
"""What `json` reads and writes."""
Export = Callable[[object], list[Json]]
"""Reference for an object that stays where it is: a list whose first item is "h"."""
Resolve = Callable[[list[Json]], object]

_SCALARS = frozenset({int, float, str, bool, type(None)})
_PURE = frozenset(
    ("abs", "all", "any", "chr", "divmod", "hash", "hex", "len", "max", "min", "ord", "pow", "repr", "round",
     "sorted", "sum")
)  # fmt: skip
_GLOBALS: dict[str, object] = {
    name: value for name, value in vars(builtins).items() if name in _PURE or isinstance(value, type)
}
_GLOBAL_NAMES = {id(value): name for name, value in _GLOBALS.items()}
_SMALL = 1 << 63
_MAX_FRACTION = 20_000
_TIMES = {"date": datetime.date, "time": datetime.time, "datetime": datetime.datetime}


class Unserialisable(Exception):
    """The value is not plain data or exceeds the limits."""


class Malformed(Exception):
    """Received bytes are not a message, or exceed the limits."""


def pack(message: Json) -> bytes:
    """One frame. Raises Unserialisable if it exceeds MAX_BYTES."""
    body = "".join(_to_json(message, 0)).encode("ascii")
    if len(body) > MAX_BYTES:
        raise Unserialisable(f"{len(body)} bytes of data exceed the limit of {MAX_BYTES}")
    return HEADER.pack(len(body)) + body


def body_size(header: bytes) -> int:
    """Length of the body that follows a 4-byte header. Raises Malformed above MAX_BYTES."""
    (size,) = HEADER.unpack(header)
    if size > MAX_BYTES:
        raise Malformed(f"a frame of {size} bytes exceeds the limit of {MAX_BYTES}")
    return int(size)


def unpack(body: bytes) -> dict[str, Json]:
    """The message in a frame's body; sizes are checked before anything is built. Raises Malformed."""
    if body.count(b",") + body.count(b"[") + body.count(b"{") > 2 * MAX_NODES:
        outside = re.sub(rb'"(?:[^"\\]|\\.)*"', b"", body)
        if outside.count(b",") + outside.count(b"[") + outside.count(b"{") > 2 * MAX_NODES:
            raise Malformed(f"a frame holds more than {MAX_NODES} values")
    try:
        message, end = _from_json(body.decode("ascii"), 0)
    except (ValueError, RecursionError, StopIteration) as error:
        raise Malformed(f"a frame is not JSON: {type(error).__name__}") from None
    if type(message) is not dict or end != len(body):
        raise Malformed("a frame is not an object")
    return message


def encode(value: object, export: Export | None = None, shared: Callable[[object], str | None] | None = None) -> Json:
    """`value` as `{"v": tagged value, "o": shared objects}`.

    `shared` names the class of an object that travels by structure. Raises Unserialisable.
    """
    if type(value) in _SCALARS:
        return {"v": _integer(value) if type(value) is int else value, "o": []}
    encoder = _Encoder(export, shared)
    root = encoder.value(value, 0)
    table: list[Json] = []
    for item in encoder.pending:
        table.append([encoder.shared_name(item), encoder.value(_attributes(item), 0)])
    return {"v": root, "o": table}


def decode(
    wire: Json, resolve: Resolve | None = None, shared: Mapping[str, type] | None = None, *, arrays: bool = False
) -> object:
    """The value in what `encode` made; with `arrays` numpy arrays come back as such, else as lists. Raises Malformed.

    Without `resolve` a reference raises Malformed. Shared classes are created without calling them.
    """
    try:
        classes = shared or {}
        objects: list[object] = [object.__new__(classes[name]) for name, _ in wire["o"]]
        decoder = _Decoder(resolve, objects, arrays)
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


def _attributes(item: object) -> dict[str, object]:
    found = dict(getattr(item, "__dict__", {}))
    for kind in type(item).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(item, name):
                found[name] = getattr(item, name)
    return found


class _Encoder:
    def __init__(self, export: Export | None, shared: Callable[[object], str | None] | None) -> None:
        self._export = export
        self._shared = shared
        self._left = MAX_NODES
        self._indices: dict[int, int] = {}
        self.pending: list[object] = []

    def shared_name(self, item: object) -> str | None:
        return self._shared(item) if self._shared is not None else None

    def _spend(self, nodes: int) -> None:
        self._left -= nodes
        if self._left < 0:
            raise Unserialisable(f"more than {MAX_NODES} values")

    def items(self, tag: str, values: Iterable[object], depth: int) -> list[Json]:
        held = list(values)
        self._spend(len(held))
        out: list[Json] = [tag]
        if set(map(type, held)) <= _SCALARS and all(type(item) is not int or -_SMALL <= item < _SMALL for item in held):
            out += held
            return out
        out += [self.value(item, depth + 1) for item in held]
        return out

    def value(self, value: object, depth: int) -> Json:
        if depth > MAX_DEPTH:
            raise Unserialisable(f"nested deeper than {MAX_DEPTH}")
        kind = type(value)
        if kind is int:
            return _integer(int.__index__(value))  # type: ignore[arg-type]
        if kind in _SCALARS:
            return value
        handler = _EXACT.get(kind)
        if handler is not None:
            return handler(self, value, depth)
        if kind.__module__ == "numpy":
            return self._numpy(value, depth)
        return self._other(value, depth)

    def _numpy(self, value: Any, depth: int) -> Json:
        if type(value).__name__ == "ndarray":
            self._spend(int(value.size))
            return ["n", str(value.dtype), self.value(value.tolist(), depth + 1)]
        plain = value.item() if hasattr(value, "item") else value
        return self._other(value, depth) if type(plain) is type(value) else self.value(plain, depth + 1)

    def _other(self, value: object, depth: int) -> Json:
        if self.shared_name(value) is not None:
            index = self._indices.get(id(value))
            if index is None:
                self._spend(1)
                index = self._indices[id(value)] = len(self.pending)
                self.pending.append(value)
            return ["o", index]
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
                return handler(self, value, depth)
        if self._export is not None:
            return self._export(value)
        raise Unserialisable(f"a value of type {type(value).__name__} is not plain data")


def _is_enum(value: object) -> bool:
    return any(kind.__module__ == "enum" and kind.__name__ == "Enum" for kind in type(value).__mro__)


def _integer(value: int) -> Json:
    return value if -_SMALL <= value < _SMALL else ["i", hex(value)]


def _dict(encoder: _Encoder, value: dict[object, object], depth: int, tag: str = "d") -> Json:
    flat: list[object] = []
    for key, item in dict.items(value):
        flat += (key, item)
    return encoder.items(tag, flat, depth)


def _defaultdict(encoder: _Encoder, value: collections.defaultdict[object, object], depth: int) -> Json:
    factory = _GLOBAL_NAMES.get(id(value.default_factory))
    return _dict(encoder, value, depth) if factory is None else ["e", factory, _dict(encoder, value, depth)]


_Handler = Callable[[_Encoder, Any, int], Json]

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


class _Decoder:
    def __init__(self, resolve: Resolve | None, objects: list[object], arrays: bool) -> None:
        self._resolve = resolve
        self._objects = objects
        self._arrays = arrays

    def mapping(self, wire: Json, depth: int) -> dict[object, object]:
        found = self.value(wire, depth)
        if type(found) is not dict:
            raise Malformed("attributes are not a mapping")
        return found

    def value(self, wire: Json, depth: int) -> object:
        if type(wire) is not list:
            if type(wire) in _SCALARS:
                return wire
            raise Malformed("a value is neither a scalar nor a list")
        if depth > MAX_DEPTH + 2:
            raise Malformed(f"nested deeper than {MAX_DEPTH}")
        tag = wire[0]
        if tag == "l":
            return self._items(wire, depth)
        if tag == "t":
            return tuple(self._items(wire, depth))
        if tag == "d":
            return self._pairs(wire, depth)
        if tag == "s":
            return set(_spread(self._items(wire, depth)))
        if tag == "z":
            return frozenset(_spread(self._items(wire, depth)))
        if tag == "o":
            return self._objects[_natural(wire[1])]
        if tag == "h":
            if self._resolve is None:
                raise Malformed("a reference where plain data was expected")
            return self._resolve(wire)
        return self._rare(tag, wire, depth)

    def _pairs(self, wire: list[Json], depth: int) -> dict[object, object]:
        flat = self._items(wire, depth)
        return dict(zip(_spread(flat[::2]), flat[1::2], strict=True))

    def _items(self, wire: list[Json], depth: int) -> list[object]:
        return [item if type(item) in _SCALARS else self.value(item, depth + 1) for item in wire[1:]]

    def _rare(self, tag: Json, wire: list[Json], depth: int) -> object:
        if tag == "i":
            return int(wire[1], 16)
        if tag == "k":
            counted: dict[object, Any] = self._pairs(wire, depth)
            return collections.Counter(counted)
        if tag == "O":
            return collections.OrderedDict(self._pairs(wire, depth))
        if tag == "e":
            made: Any = _GLOBALS[wire[1]]
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
                raise Malformed("a fraction is too long to be reduced")
            return fractions.Fraction(int(wire[1], 16), int(wire[2], 16))
        if tag == "r":
            bounds: list[Any] = self._items(wire, depth)
            return range(*bounds)
        if tag == "q":
            held = self.value(wire[2], depth + 1)
            return collections.deque(held, wire[1])  # type: ignore[call-overload]
        if tag == "T":
            if wire[1] == "timedelta":
                return datetime.timedelta(*wire[2:])
            kind: Any = _TIMES[wire[1]]
            return kind.fromisoformat(wire[2])
        if tag == "g":
            return _GLOBALS[wire[1]]
        if tag == "n":
            held = self.value(wire[2], depth + 1)
            return _array(held, str(wire[1])) if self._arrays else held
        if tag == "N":
            return self._named_tuple(wire, depth)
        raise Malformed("unknown tag")

    def _named_tuple(self, wire: list[Json], depth: int) -> object:
        _, name, fields, values = wire
        held = self.value(values, depth + 1)
        if type(held) is not tuple or len(fields) > 1000:
            raise Malformed("a named tuple holds no tuple")
        return _named_tuple_class(str(name), tuple(map(str, fields)))(*held)


@functools.lru_cache(maxsize=256)
def _named_tuple_class(name: str, fields: tuple[str, ...]) -> Any:
    return collections.namedtuple(name if name.isidentifier() else "Record", fields, rename=True)


def _spread(keys: list[object]) -> list[object]:
    """`keys`, unless so many share a hash that putting them into a table would take quadratic time."""
    if len(keys) > 1000 and len(set(map(hash, keys))) < len(keys) // 2:
        raise Malformed("keys collide")
    return keys


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
