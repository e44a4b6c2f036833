"""What an asserted expression claims: a call with literal arguments, and what holds of its result."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from agent.sandbox import compare

_NAME_LENGTH = 160

Check = Callable[[object], bool]


@dataclass(frozen=True, slots=True)
class Claim:
    """The result of a call decides."""

    call: ast.expr
    check: Check
    expected: str | None
    """What the result should be, as text for feedback."""


NOT_LITERAL = object()


def constant(node: object) -> object:
    """Value of a literal expression, `set()` and `float("inf")` included; NOT_LITERAL for anything else."""
    if not isinstance(node, ast.expr):
        return NOT_LITERAL
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = constant(node.operand)
        return -inner if isinstance(inner, float) else literal_value(node)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        if node.func.id == "float" and len(node.args) == 1 and isinstance(node.args[0], ast.Constant):
            try:
                return float(node.args[0].value)  # type: ignore[arg-type]
            except (TypeError, ValueError):
                return NOT_LITERAL
        if node.func.id == "frozenset" and len(node.args) <= 1:
            held = constant(node.args[0]) if node.args else ()
            return frozenset(held) if isinstance(held, set | list | tuple) else NOT_LITERAL
    return literal_value(node)


def literal_value(node: ast.expr) -> object:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return NOT_LITERAL


def is_plain_call(node: ast.expr, foreign: frozenset[str]) -> bool:
    """Whether `node` is a call of a name of the program, or of a method of what a class of it makes, with literal
    arguments only. A method of anything else that a call returns is not: what it says would be the program's word."""
    calls = 0
    while True:
        if isinstance(node, ast.Call):
            arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
            if any(literal_value(argument) is NOT_LITERAL for argument in arguments):
                return False
            calls += 1
            node = node.func
        elif isinstance(node, ast.Attribute):
            node = node.value
        elif isinstance(node, ast.Name):
            made = 2 if node.id[:1].isupper() else 1
            return 1 <= calls <= made and node.id not in foreign
        else:
            return False


def claim(test: ast.expr, foreign: frozenset[str]) -> Claim | None:
    """What an asserted expression claims of a call; None if it is something else. Names in `foreign` are not the
    program's."""
    if is_plain_call(test, foreign):
        return Claim(test, _truthy, None)
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not) and is_plain_call(test.operand, foreign):
        return Claim(test.operand, lambda actual: not _truthy(actual), None)
    if isinstance(test, ast.Compare) and len(test.ops) == 1:
        return _comparison(test.left, test.ops[0], test.comparators[0], foreign)
    return _is_close(test, foreign)


def _comparison(left: ast.expr, operator: ast.cmpop, right: ast.expr, foreign: frozenset[str]) -> Claim | None:
    if isinstance(operator, ast.Lt | ast.LtE):
        return _distance(left, right, foreign, strict=isinstance(operator, ast.Lt))
    if not is_plain_call(left, foreign) and isinstance(operator, ast.Eq | ast.NotEq):
        left, right = right, left
    expected = constant(right)
    if not is_plain_call(left, foreign) or expected is NOT_LITERAL:
        return None
    text = shortened(ast.unparse(right), 500)
    singleton = expected is None or isinstance(expected, bool)
    if isinstance(operator, ast.Eq):
        return Claim(left, lambda actual: bool(actual == expected), text)
    if isinstance(operator, ast.NotEq):
        return Claim(left, lambda actual: bool(actual != expected), f"not {text}")
    if isinstance(operator, ast.Is) and singleton:
        return Claim(left, lambda actual: actual is expected, text)
    if isinstance(operator, ast.IsNot) and singleton:
        return Claim(left, lambda actual: actual is not expected, f"not {text}")
    if isinstance(operator, ast.In) and isinstance(expected, list | tuple):
        return Claim(left, lambda actual: any(bool(actual == item) for item in expected), f"one of {text}")
    return None


def _distance(left: ast.expr, right: ast.expr, foreign: frozenset[str], *, strict: bool) -> Claim | None:
    """`abs(call - number) < bound`, either way round."""
    bound = constant(right)
    if not (isinstance(left, ast.Call) and isinstance(left.func, ast.Name) and left.func.id == "abs"):
        return None
    if len(left.args) != 1 or left.keywords or not isinstance(bound, int | float):
        return None
    difference = left.args[0]
    if not isinstance(difference, ast.BinOp) or not isinstance(difference.op, ast.Sub):
        return None
    for call, number in ((difference.left, difference.right), (difference.right, difference.left)):
        expected = constant(number)
        if is_plain_call(call, foreign) and isinstance(expected, int | float):
            text = f"{ast.unparse(number)} within {ast.unparse(right)}"
            return Claim(call, _within(expected, bound, strict=strict), text)
    return None


def _within(expected: float, bound: float, *, strict: bool) -> Check:
    def check(actual: object) -> bool:
        if not isinstance(actual, int | float | complex | Fraction):
            return False
        try:
            distance = abs(actual - expected)
        except OverflowError:
            return False
        return distance < bound if strict else distance <= bound

    return check


def _is_close(test: ast.expr, foreign: frozenset[str]) -> Claim | None:
    """`math.isclose(call, number)`, either way round, with literal tolerances."""
    if (
        not isinstance(test, ast.Call)
        or ast.unparse(test.func) not in ("math.isclose", "isclose")
        or len(test.args) != 2
    ):
        return None
    tolerances: dict[str, float] = {}
    for keyword in test.keywords:
        value = constant(keyword.value)
        if keyword.arg not in ("rel_tol", "abs_tol") or not isinstance(value, int | float):
            return None
        tolerances[keyword.arg] = float(value)
    for call, number in (test.args, test.args[::-1]):
        expected = constant(number)
        if is_plain_call(call, foreign) and isinstance(expected, int | float):
            return Claim(call, _near(expected, tolerances), f"close to {ast.unparse(number)}")
    return None


def _near(expected: float, tolerances: dict[str, float]) -> Check:
    relative, absolute = tolerances.get("rel_tol", 1e-9), tolerances.get("abs_tol", 0.0)
    return lambda actual: compare.close(actual, expected, relative=relative, absolute=absolute)


def _truthy(actual: object) -> bool:
    return bool(actual)


def shortened(text: str, length: int = _NAME_LENGTH) -> str:
    """`text` on one line of at most `length` characters."""
    joined = " ".join(line.strip() for line in text.splitlines())
    return joined if len(joined) <= length else joined[: length - 3] + "..."
