"""Special methods of a class, told as one number.

Standard library only: this module runs inside the jail.
"""

from __future__ import annotations

from collections.abc import Collection

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
    "hash",
)  # fmt: skip
EVERYBODYS = ("eq", "lt", "le", "gt", "ge", "str", "repr")
"""Told where a class has another one than all objects have."""
NAMES = (*UNARY, *_OTHERS, *BINARY, *REFLECTED, *IN_PLACE, *EVERYBODYS)
"""Without the underscores."""


def of(kind: type, among: Collection[str] = NAMES) -> int:
    """One bit for each of NAMES."""
    found: dict[str, object] = {}
    for each in reversed(kind.__mro__):
        found.update(each.__dict__)
    for name in EVERYBODYS:
        if found[f"__{name}__"] is object.__dict__[f"__{name}__"]:
            del found[f"__{name}__"]
    return sum(1 << place for place, name in enumerate(NAMES) if name in among and found.get(f"__{name}__") is not None)


def names(told: int) -> list[str]:
    """The names again."""
    return [name for place, name in enumerate(NAMES) if told >> place & 1]
