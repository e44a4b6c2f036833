"""What the variables of a frame hold, as short text.

Nothing of the program's own code is run to make it: no `__repr__`, no property, no iteration but that of built-in
containers. Standard library only: this module runs inside the jail.
"""

from __future__ import annotations

import collections
import datetime
import decimal
import fractions
import re
import types
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

MAX_VARIABLES = 12
MAX_TEXT = 120
_MAX_ITEMS = 8
_MAX_DEPTH = 4
_MAX_BITS = 512
_CODE = (
    type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.GenericAlias,
)  # fmt: skip
_HARMLESS = (
    float, bool, type(None), complex, range, decimal.Decimal, datetime.date, datetime.time, datetime.datetime,
    datetime.timedelta, type(Ellipsis), type(NotImplemented),
)  # fmt: skip
_name_of: Any = type.__dict__["__name__"]
_module_of: Any = type.__dict__["__module__"]
_WORD = re.compile(r"\w+")


def shown(variables: Mapping[str, object], statement: str, hidden: Collection[str]) -> list[tuple[str, str]]:
    """At most MAX_VARIABLES of `variables`, those that `statement` names first. Dunder names, `hidden` ones, modules,
    functions, classes and type hints are left out. Where they cannot be read there are none."""
    try:
        return _shown(variables, statement, hidden)
    except Exception:
        return []


def _shown(variables: Mapping[str, object], statement: str, hidden: Collection[str]) -> list[tuple[str, str]]:
    named = set(_WORD.findall(statement))
    held = [
        (name, value)
        for name, value in list(variables.items())
        if type(name) is str
        and not name.startswith(("__", "."))
        and name not in hidden
        and not issubclass(type(value), _CODE)
        and _module(type(value)) != "typing"
    ]
    held.sort(key=lambda item: item[0] not in named)
    return [(name[:MAX_TEXT], text(value)) for name, value in held[:MAX_VARIABLES]]


def text(value: object) -> str:
    """`value` in at most MAX_TEXT characters."""
    made = _text(value, 0)
    return made if len(made) <= MAX_TEXT else made[: MAX_TEXT - 3] + "..."


def class_name(kind: type) -> str:
    """Name of a class, whatever its metaclass says."""
    return str.__str__(_name_of.__get__(kind))[:200]


def _module(kind: type) -> str:
    found = _module_of.__get__(kind)
    return found if type(found) is str else ""


def _text(value: Any, depth: int) -> str:
    kind = type(value)
    if kind in _HARMLESS:
        return repr(value)
    if kind is int:
        return repr(value) if value.bit_length() <= _MAX_BITS else f"<int of {value.bit_length()} bits>"
    if kind is str or kind is bytes:
        return repr(value) if len(value) <= MAX_TEXT else repr(value[: MAX_TEXT // 2]) + "..."
    if depth >= _MAX_DEPTH:
        return "..."
    if kind is fractions.Fraction:
        return f"Fraction({_text(value.numerator, depth)}, {_text(value.denominator, depth)})"
    if _module(kind) == "numpy" and class_name(kind) == "ndarray":
        return f"array({_text(value.tolist(), depth)})" if value.size <= 1000 else f"<array of shape {value.shape}>"
    if issubclass(kind, dict):
        return _braced(kind, dict, "{", _pairs(dict.items(value), depth), dict.__len__(value), "}")
    for base, opening, closing in _SEQUENCES:
        if issubclass(kind, base):
            items = (_text(item, depth + 1) for item in base.__iter__(value))
            size = base.__len__(value)
            return _braced(kind, base, opening, items, size, ",)" if base is tuple and size == 1 else closing)
    return _instance(value, kind, depth)


_SEQUENCES: tuple[tuple[Any, str, str], ...] = (
    (list, "[", "]"), (tuple, "(", ")"), (set, "{", "}"), (frozenset, "frozenset({", "})"),
    (collections.deque, "deque([", "])"),
)  # fmt: skip


def _pairs(items: Iterable[tuple[object, object]], depth: int) -> Iterator[str]:
    for key, item in items:
        yield f"{_text(key, depth + 1)}: {_text(item, depth + 1)}"


def _braced(kind: type, base: type, opening: str, items: Iterator[str], size: int, closing: str) -> str:
    if not size and base in (set, frozenset):
        return f"{class_name(kind)}()"
    parts = list(islice(items, _MAX_ITEMS))
    if size > _MAX_ITEMS:
        parts.append(f"... {size} in all")
    made = opening + ", ".join(parts) + closing
    return made if kind is base else f"{class_name(kind)}({made})"


def _instance(value: object, kind: type, depth: int) -> str:
    try:
        held = object.__getattribute__(value, "__dict__")
    except Exception:
        held = None
    if type(held) is not dict or not held:
        return f"<{class_name(kind)} object>"
    parts = [f"{name}={_text(item, depth + 1)}" for name, item in islice(held.items(), _MAX_ITEMS) if type(name) is str]
    return f"<{class_name(kind)} {', '.join(parts)}>"
