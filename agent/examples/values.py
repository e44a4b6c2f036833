"""Values as people write them: Python literals, JSON's words, constant arithmetic; read exactly or not at all."""

from __future__ import annotations

import ast
import re

from memory.syntax import expression

MAX_EXAMPLE = 4000
"""Characters that one call or value may have; longer ones are no examples for reading."""

_TOKEN = re.compile(r"\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|[()\[\]{}]", re.DOTALL)
_ATOM = re.compile(
    r"[rbuRBU]{0,2}(?:\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*')|[-+]?(?:\d[\d_]*\.?[\d_]*|\.\d+)(?:[eE][-+]?\d+)?j?(?!\w)"
    r"|(?:true|false|null|none)\b",
    re.IGNORECASE,
)
_WORDS = {"true": True, "false": False, "null": None, "none": None}
_BRACKETS = {"(": ")", "[": "]", "{": "}"}
_MAX_CHAIN = 200
_MAX_FACTOR = 10**12


def is_literal(text: str) -> bool:
    """Whether the text is one Python literal."""
    node = expression(text)
    return node is not None and is_constant(node)


def is_constant(node: ast.expr) -> bool:
    """Whether the expression is a literal."""
    try:
        ast.literal_eval(node)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return False
    return True


def literal(text: str) -> str | None:
    """`text` as a Python literal: as it stands, or with the words `true`, `false`, `null`, `none` in Python's spelling.

    None for anything else.
    """
    text = text.strip()
    if not text or len(text) > MAX_EXAMPLE:
        return None
    node = expression(text)
    if node is None:
        return None
    if is_constant(node):
        return text if "#" not in text else ast.get_source_segment(text, node)
    try:
        return _unparsed(_PythonWords().visit(node))
    except RecursionError:
        return None


class _PythonWords(ast.NodeTransformer):
    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in ("true", "false", "null", "none", "TRUE", "FALSE", "NULL"):
            return ast.Constant(value=_WORDS[node.id.lower()])
        return node


def _unparsed(node: ast.expr) -> str | None:
    if not is_constant(node):
        return None
    try:
        return ast.unparse(node)
    except (ValueError, RecursionError):  # a whole number too long to print
        return None


def value_of(text: str) -> object:
    """The value of a literal that `literal` returned."""
    node = expression(text)
    if node is None:
        raise ValueError(f"{text!r} is no literal")
    return ast.literal_eval(node)


def closing(text: str, opening: int) -> int | None:
    """Index after the bracket that closes the one at `opening`; what stands in quotes does not count."""
    pending: list[str] = []
    for token in _TOKEN.finditer(text, opening, min(len(text), opening + MAX_EXAMPLE)):
        mark = token[0]
        if mark in _BRACKETS:
            pending.append(_BRACKETS[mark])
        elif mark in (")", "]", "}"):
            if not pending or pending.pop() != mark:
                return None
            if not pending:
                return token.end()
    return None


def leading(text: str) -> tuple[str, str] | None:
    """The literal that `text` begins with and what follows it; None if it begins with none."""
    text = text.lstrip()
    if text[:1] in _BRACKETS and text:
        end = closing(text, 0)
    else:
        match = _ATOM.match(text)
        end = match.end() if match else None
    if end is None:
        return None
    head = text[:end]
    if head.endswith(".") and is_literal(head[:-1]):  # the full stop of the sentence
        head, end = head[:-1], end - 1
    value = literal(head)
    return None if value is None else (value, text[end:])


def computed(text: str) -> str | None:
    """The last part of a chain such as `19 - 5 - 6 = 8`, if all its parts have the same value; None otherwise."""
    parts = [part.strip() for part in text.split("=")]
    if len(parts) < 2 or len(text) > _MAX_CHAIN or not is_literal(parts[-1]):
        return None
    values = [_arithmetic(part) for part in parts]
    same = all(value is not None and value == values[0] and type(value) is type(values[0]) for value in values)
    return parts[-1] if same else None


def _arithmetic(text: str) -> int | float | None:
    """Value of an expression of numbers, the four operations and brackets."""
    node = expression(text)
    if node is None:
        return None
    try:
        return _number(node)
    except (ArithmeticError, ValueError, RecursionError):
        return None


def _number(node: ast.expr) -> int | float:
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool) and abs(value) < _MAX_FACTOR:
            return value
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_number(operand)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _number(left) + _number(right)
        case ast.BinOp(left=left, op=ast.Sub(), right=right):
            return _number(left) - _number(right)
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return _number(left) * _number(right)
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return _number(left) / _number(right)
        case ast.BinOp(left=left, op=ast.FloorDiv(), right=right):
            return _number(left) // _number(right)
        case _:
            raise ValueError("no arithmetic of numbers")
