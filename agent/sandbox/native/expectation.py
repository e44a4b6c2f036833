"""What a call must return, as text, to a value: JSON, or a literal of Python, JavaScript or C++ that reads one way."""

from __future__ import annotations

import ast
import json
import math

from agent.errors import BadTests
from agent.sandbox.native.values import UNDEFINED, Members

_NAMES = {
    "null": None,
    "nullptr": None,
    "nullopt": None,
    "true": True,
    "false": False,
    "undefined": UNDEFINED,
    "NaN": math.nan,
    "Infinity": math.inf,
    "nan": math.nan,
    "inf": math.inf,
}


def read(text: str) -> object:
    """The value that `text` stands for. Raises BadTests."""
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return _literal(text)
    return value


def _literal(text: str) -> object:
    try:
        return _value(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        shown = text if len(text) <= 100 else text[:100] + "..."
        raise BadTests(f"the expectation {shown!r} is neither JSON nor a literal") from None


def _value(node: ast.expr) -> object:
    match node:
        case ast.Constant(value=None | bool() | int() | float() | str() as value):
            return value
        case ast.Name(id=name) if name in _NAMES:
            return _NAMES[name]
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
            number = _value(operand)
            if isinstance(number, int | float) and not isinstance(number, bool):
                return -number if isinstance(sign, ast.USub) else number
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_value(item) for item in items]
        case ast.Set(elts=items):
            return Members(_value(item) for item in items)
        case ast.Dict(keys=keys, values=values):
            return {_key(key): _value(value) for key, value in zip(keys, values, strict=True)}
        case ast.Call(func=ast.Name(id="set"), args=[], keywords=[]):
            return Members()
        case ast.Call(func=ast.Name(id="float"), args=[ast.Constant(value=str() as number)], keywords=[]):
            return float(number)
    raise ValueError("not a literal")


def _key(node: ast.expr | None) -> object:
    if isinstance(node, ast.Name) and node.id not in _NAMES:
        return node.id
    if isinstance(node, ast.Constant | ast.UnaryOp | ast.Name):
        return _value(node)
    raise ValueError("not a key")
