"""Sorts tests by where their verdict can be computed.

A literal test is one call with literal arguments whose result is checked against a literal: only the call goes to the
program, the result is checked in this process. Every other call or assert and all test code is a unit for the judge.
Tests on standard input stand for themselves.
"""

from __future__ import annotations

import ast
import builtins
import functools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent.errors import BadTests
from agent.sandbox import compare
from agent.sandbox.suite import cases
from memory.records import AssertTest, CallTest, CodeTest, StdioTest, Test

MAX_SOURCE = 1 << 20
_NAME_LENGTH = 160

Check = Callable[[object], bool]


@dataclass(frozen=True, slots=True)
class Literal:
    """A call whose plain result decides."""

    index: int
    name: str
    call: str
    check: Check
    expected: str | None
    """What the result should be, as text for feedback."""
    assertion: bool
    """Written as an `assert`."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Test code for the judge."""

    index: int
    name: str
    runner: str
    """`assert`, `value`, or a runner of `CodeTest`."""
    source: str
    cases: tuple[str, ...]
    """Names of the cases, as far as the source tells them before it runs."""
    check: Check | None = None
    """For `value`: whether the value of the expression is right."""
    expected: str | None = None
    in_process: bool = False
    """To be run beside the program instead."""


@dataclass(frozen=True, slots=True)
class Stdio:
    """A run of the whole program."""

    index: int
    name: str
    test: StdioTest


@dataclass(frozen=True, slots=True)
class Plan:
    """The tests of one run; `index` of each is its place in what the caller gave."""

    literals: tuple[Literal, ...]
    units: tuple[Unit, ...]
    stdio: tuple[Stdio, ...]


def make(tests: Sequence[Test], *, entry_point: str | None, prelude: str) -> Plan:
    """See `_made`; plans are kept for a while, as many programs are run against the same tests."""
    return _made(tuple(tests), entry_point, prelude)


@functools.lru_cache(maxsize=512)
def _made(tests: tuple[Test, ...], entry_point: str | None, prelude: str) -> Plan:
    """Raises BadTests for test source, prelude or entry point that does not compile, and expectations that are no
    literals."""
    given = _bound_names(_parse(prelude, "the prelude")) if prelude else frozenset()
    if entry_point:
        _parse(entry_point, "the entry point", mode="eval")
    literals: list[Literal] = []
    units: list[Unit] = []
    stdio: list[Stdio] = []
    foreign = (given | frozenset(dir(builtins))) - {entry_point or ""}
    for index, test in enumerate(tests):
        match test:
            case StdioTest():
                stdio.append(Stdio(index, f"stdin {index + 1}", test))
            case AssertTest():
                tree = _parse(test.source, "a test")
                literal = _literal_assert(index, tree, foreign)
                if literal is None:
                    units.append(Unit(index, shortened(test.source), "assert", test.source, (shortened(test.source),)))
                else:
                    literals.append(literal)
            case CallTest():
                made = _call(index, test, foreign)
                if isinstance(made, Unit):
                    units.append(made)
                else:
                    literals.append(made)
            case CodeTest():
                tree = _parse(test.source, "a test")
                if test.runner == "check" and "check" not in _bound_names(tree):
                    raise BadTests("the test source defines no check(candidate)")
                name = f"{test.runner} {index + 1}"
                names = cases.split(tree) if test.runner in ("check", "script") else []
                named = tuple(names or [name])
                units.append(Unit(index, name, test.runner, test.source, named, in_process=test.in_process))
    return Plan(tuple(literals), tuple(units), tuple(stdio))


def _parse(source: str, what: str, mode: str = "exec") -> ast.Module:
    if len(source) > MAX_SOURCE:
        raise BadTests(f"{what} is longer than {MAX_SOURCE} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source, mode=mode)
            compile(source, "<tests>", mode, dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise BadTests(f"{what} does not compile: {type(error).__name__}: {error}") from None
    return tree  # type: ignore[return-value]


def _bound_names(tree: ast.Module) -> frozenset[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.alias):
            found.add((node.asname or node.name).split(".")[0])
    return frozenset(found)


def _call(index: int, test: CallTest, foreign: frozenset[str]) -> Literal | Unit:
    expression = _parse(test.call, "a call", mode="eval").body
    try:
        expected = ast.literal_eval(test.expected.strip())
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        expected = _constant(_parse(test.expected.strip(), "an expectation", mode="eval").body)
        if expected is _NOT_LITERAL:
            raise BadTests(f"the expectation {shortened(test.expected)} is not a literal") from None

    def check(actual: object) -> bool:
        return compare.same_value(actual, expected, from_json=test.from_json)

    if isinstance(expression, ast.expr) and _is_plain_call(expression, foreign):
        return Literal(index, shortened(test.call), test.call, check, shortened(test.expected, 500), assertion=False)
    return Unit(
        index,
        shortened(test.call),
        "value",
        test.call.strip(),
        (shortened(test.call),),
        check,
        shortened(test.expected, 500),
    )


_NOT_LITERAL = object()


def _constant(node: object) -> object:
    """Value of a literal expression, `set()` and `float("inf")` included; _NOT_LITERAL for anything else."""
    if not isinstance(node, ast.expr):
        return _NOT_LITERAL
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _constant(node.operand)
        return -inner if isinstance(inner, float) else _literal(node)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        if node.func.id == "float" and len(node.args) == 1 and isinstance(node.args[0], ast.Constant):
            try:
                return float(node.args[0].value)  # type: ignore[arg-type]
            except (TypeError, ValueError):
                return _NOT_LITERAL
        if node.func.id == "frozenset" and len(node.args) <= 1:
            held = _constant(node.args[0]) if node.args else ()
            return frozenset(held) if isinstance(held, set | list | tuple) else _NOT_LITERAL
    return _literal(node)


def _literal(node: ast.expr) -> object:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return _NOT_LITERAL


def _is_plain_call(node: ast.expr, foreign: frozenset[str]) -> bool:
    """Whether `node` is a chain of calls and attributes on a name of the program, with literal arguments only."""
    called = False
    while True:
        if isinstance(node, ast.Call):
            arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
            if any(_literal(argument) is _NOT_LITERAL for argument in arguments):
                return False
            called = True
            node = node.func
        elif isinstance(node, ast.Attribute):
            node = node.value
        elif isinstance(node, ast.Name):
            return called and node.id not in foreign
        else:
            return False


def _literal_assert(index: int, tree: ast.Module, foreign: frozenset[str]) -> Literal | None:
    if len(tree.body) != 1 or not isinstance(tree.body[0], ast.Assert):
        return None
    found = _claim(tree.body[0].test, foreign)
    if found is None:
        return None
    call, check, expected = found
    return Literal(index, shortened(ast.unparse(tree.body[0])), ast.unparse(call), check, expected, assertion=True)


def _claim(test: ast.expr, foreign: frozenset[str]) -> tuple[ast.expr, Check, str | None] | None:
    """The call, the check of its result and the expectation that an asserted expression stands for."""
    if _is_plain_call(test, foreign):
        return test, _truthy, None
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not) and _is_plain_call(test.operand, foreign):
        return test.operand, lambda actual: not _truthy(actual), None
    if isinstance(test, ast.Compare) and len(test.ops) == 1:
        return _comparison(test.left, test.ops[0], test.comparators[0], foreign)
    return _is_close(test, foreign)


def _comparison(
    left: ast.expr, operator: ast.cmpop, right: ast.expr, foreign: frozenset[str]
) -> tuple[ast.expr, Check, str | None] | None:
    if isinstance(operator, ast.Lt | ast.LtE):
        return _distance(left, right, foreign, strict=isinstance(operator, ast.Lt))
    if not _is_plain_call(left, foreign) and isinstance(operator, ast.Eq | ast.NotEq):
        left, right = right, left
    expected = _constant(right)
    if not _is_plain_call(left, foreign) or expected is _NOT_LITERAL:
        return None
    text = shortened(ast.unparse(right), 500)
    singleton = expected is None or isinstance(expected, bool)
    if isinstance(operator, ast.Eq):
        return left, lambda actual: bool(actual == expected), text
    if isinstance(operator, ast.NotEq):
        return left, lambda actual: bool(actual != expected), f"not {text}"
    if isinstance(operator, ast.Is) and singleton:
        return left, lambda actual: actual is expected, text
    if isinstance(operator, ast.IsNot) and singleton:
        return left, lambda actual: actual is not expected, f"not {text}"
    if isinstance(operator, ast.In) and isinstance(expected, list | tuple):
        return left, lambda actual: any(bool(actual == item) for item in expected), f"one of {text}"
    return None


def _distance(
    left: ast.expr, right: ast.expr, foreign: frozenset[str], *, strict: bool
) -> tuple[ast.expr, Check, str | None] | None:
    """`abs(call - number) < bound`, either way round."""
    bound = _constant(right)
    if not (isinstance(left, ast.Call) and isinstance(left.func, ast.Name) and left.func.id == "abs"):
        return None
    if len(left.args) != 1 or left.keywords or not isinstance(bound, int | float):
        return None
    difference = left.args[0]
    if not isinstance(difference, ast.BinOp) or not isinstance(difference.op, ast.Sub):
        return None
    for call, number in ((difference.left, difference.right), (difference.right, difference.left)):
        expected = _constant(number)
        if _is_plain_call(call, foreign) and isinstance(expected, int | float):
            return call, _within(expected, bound, strict=strict), f"{ast.unparse(number)} within {ast.unparse(right)}"
    return None


def _within(expected: float, bound: float, *, strict: bool) -> Check:
    def check(actual: object) -> bool:
        if not isinstance(actual, int | float):
            return False
        try:
            distance = abs(actual - expected)
        except OverflowError:
            return False
        return distance < bound if strict else distance <= bound

    return check


def _is_close(test: ast.expr, foreign: frozenset[str]) -> tuple[ast.expr, Check, str | None] | None:
    """`math.isclose(call, number)`, either way round, with literal tolerances."""
    if (
        not isinstance(test, ast.Call)
        or ast.unparse(test.func) not in ("math.isclose", "isclose")
        or len(test.args) != 2
    ):
        return None
    tolerances: dict[str, float] = {}
    for keyword in test.keywords:
        value = _constant(keyword.value)
        if keyword.arg not in ("rel_tol", "abs_tol") or not isinstance(value, int | float):
            return None
        tolerances[keyword.arg] = float(value)
    for call, number in (test.args, test.args[::-1]):
        expected = _constant(number)
        if _is_plain_call(call, foreign) and isinstance(expected, int | float):
            return call, _near(expected, tolerances), f"close to {ast.unparse(number)}"
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
