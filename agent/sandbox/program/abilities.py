"""What a class can do: its special methods, told as one number, and the abstract classes that it is below.

Standard library only: this module runs inside the jail.
"""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Collection, Sequence
from typing import Any

from agent.sandbox.program.told import is_known

IN_PLACE = (
    "iadd", "isub", "imul", "imatmul", "itruediv", "ifloordiv", "imod", "ipow", "iand", "ior", "ixor", "ilshift",
    "irshift",
)  # fmt: skip
BINARY = (
    "add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor", "lshift", "rshift",
    "divmod",
)  # fmt: skip
REFLECTED = tuple(f"r{name}" for name in BINARY)
UNARY = (
    "len", "int", "float", "index", "reversed", "bytes", "complex", "floor", "ceil", "trunc", "abs", "neg", "pos",
    "invert", "iter", "next", "bool", "aiter",
)  # fmt: skip
_OTHERS = (
    "call", "contains", "getitem", "setitem", "delitem", "round", "enter", "exit", "anext", "aenter", "aexit", "await",
    "hash", "missing",
)  # fmt: skip
EVERYBODYS = ("eq", "lt", "le", "gt", "ge", "str", "repr")
"""Told where a class has another one than all objects have."""
NAMES = (*UNARY, *_OTHERS, *BINARY, *REFLECTED, *IN_PLACE, *EVERYBODYS)
"""Without the underscores."""


def of(kind: type, among: Collection[str] = NAMES) -> int:
    """One bit for each of NAMES."""
    return _of(kind.__mro__, among)


def abstract(kind: type) -> list[list[str]]:
    """Module and name of each abstract class of the standard library that `kind` inherits from."""
    return [[each.__module__, each.__name__] for each in kind.__mro__ if type(each) is ABCMeta and is_known(each)]


def below(kind: type, plain: type) -> list[Any]:
    """As `of`, of what classes below a plain one define; and which other methods of it they override."""
    kinds = [each for each in kind.__mro__ if each not in (plain, object)]
    names = {
        name for each in kinds for name in list(each.__dict__) if not name.startswith("_") and hasattr(plain, name)
    }
    return [_of(kinds, NAMES), sorted(names)]


def _of(kinds: Sequence[type], among: Collection[str]) -> int:
    found: dict[str, object] = {}
    for each in reversed(kinds):
        found.update(each.__dict__)
    for name in EVERYBODYS:
        if found.get(f"__{name}__") is object.__dict__[f"__{name}__"]:
            del found[f"__{name}__"]
    return sum(1 << place for place, name in enumerate(NAMES) if name in among and found.get(f"__{name}__") is not None)


def names(told: int) -> list[str]:
    """The names again."""
    return [name for place, name in enumerate(NAMES) if told >> place & 1]
