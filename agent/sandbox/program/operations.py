"""What test code may do to an object of the program: each operation by the name under which it travels.

Standard library only: this module runs inside the jail.
"""

from __future__ import annotations

import operator
from collections.abc import Callable


def _setattr(target: object, name: str, value: object) -> None:
    setattr(target, name, value)


OPERATIONS: dict[str, Callable[..., object]] = {
    "getattr": getattr, "setattr": _setattr, "delattr": delattr, "hasattr": hasattr, "isinstance": isinstance,
    "issubclass": issubclass, "len": len, "iter": iter, "next": next, "str": str, "repr": repr, "bool": bool,
    "hash": hash, "int": int, "float": float, "index": operator.index, "abs": abs, "round": round, "format": format,
    "reversed": reversed, "getitem": operator.getitem, "setitem": operator.setitem, "delitem": operator.delitem,
    "contains": operator.contains, "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge,
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "matmul": operator.matmul,
    "truediv": operator.truediv, "floordiv": operator.floordiv, "mod": operator.mod, "pow": operator.pow,
    "and": operator.and_, "or": operator.or_, "xor": operator.xor, "neg": operator.neg, "pos": operator.pos,
    "invert": operator.invert, "eq": lambda left, right: bool(left == right), "dir": dir,
    "enter": lambda target: type(target).__enter__(target),
    "exit": lambda target: type(target).__exit__(target, None, None, None),
}  # fmt: skip
