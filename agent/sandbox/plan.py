"""Sorts tests by where their verdict can be computed.

A literal test is one call with literal arguments whose result is checked against a literal: only the call goes to the
program, the result is checked in this process. Test code that is nothing but a list of these is taken as such. Every
other call or assert and all other test code is a unit for the judge. Tests on standard input stand for themselves.
"""

from __future__ import annotations

import ast
import builtins
import functools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

from agent.errors import BadTests
from agent.sandbox import compare
from agent.sandbox.claim import NOT_LITERAL, Check, claim, constant, is_plain_call, literal_value, shortened
from agent.sandbox.suite import cases, script
from memory.records import AssertTest, CallTest, CodeTest, ProbeTest, StdioTest, Test

MAX_SOURCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Literal:
    """A call whose plain result decides."""

    index: int
    name: str
    call: str
    check: Check | None
    """None: the result is noted, not judged."""
    expected: str | None
    """What the result should be, as text for feedback."""
    assertion: bool
    """Written as an `assert`."""
    case: int = 0
    """Its number among the cases of its test."""


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
    script: str | None = None
    """The source made ready to run; None: that is left to the process which runs it."""


@dataclass(frozen=True, slots=True)
class Stdio:
    """A run of the whole program."""

    index: int
    name: str
    stdin: str
    stdout: str | None
    """None: what is printed is noted, not judged."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The tests of one run; `index` of each is its place in what the caller gave."""

    literals: tuple[Literal, ...]
    units: tuple[Unit, ...]
    stdio: tuple[Stdio, ...]
    prelude: str | None
    """That of the judge, made ready to run, if one is needed."""


def make(tests: Sequence[Test], *, entry_point: str | None, prelude: str) -> Plan:
    """See `_made`; plans are kept for a while, as many programs are run against the same tests."""
    return _made(tuple(tests), entry_point, prelude)


@functools.lru_cache(maxsize=512)
def _made(tests: tuple[Test, ...], entry_point: str | None, prelude: str) -> Plan:
    """Raises BadTests for test source, prelude or entry point that does not compile, and expectations that are no
    literals."""
    given = cases.bound(_parse(prelude, "the prelude")) if prelude else frozenset()
    if entry_point:
        _parse(entry_point, "the entry point", mode="eval")
    literals: list[Literal] = []
    units: list[Unit] = []
    stdio: list[Stdio] = []
    foreign = (given | frozenset(dir(builtins))) - {entry_point or ""}
    for index, test in enumerate(tests):
        match test:
            case StdioTest():
                stdio.append(Stdio(index, f"stdin {index + 1}", test.stdin, test.stdout))
            case ProbeTest(stdin=str(text)):
                stdio.append(Stdio(index, f"stdin {index + 1}", text, None))
            case ProbeTest():
                literals.append(_probe(index, test, foreign))
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
                if test.runner == "check" and "check" not in cases.bound(tree):
                    raise BadTests("the test source defines no check(candidate)")
                listed = _listed(index, test, tree, entry_point, foreign)
                if listed is not None:
                    literals.extend(listed)
                    continue
                name = f"{test.runner} {index + 1}"
                names = cases.split(tree) if test.runner in ("check", "script") else []
                named = tuple(names or [name])
                units.append(Unit(index, name, test.runner, test.source, named, in_process=test.in_process))
    with warnings.catch_warnings(action="ignore"):
        ready = [replace(unit, script=script.told(unit.source, unit.runner)) for unit in units]
        ready_prelude = script.told(prelude, "prelude") if prelude and ready else None
    return Plan(tuple(literals), tuple(ready), tuple(stdio), ready_prelude)


def _parse(source: str, what: str, mode: str = "exec") -> ast.Module:
    if len(source) > MAX_SOURCE:
        raise BadTests(f"{what} is longer than {MAX_SOURCE} characters")
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(source, mode=mode)
            compile(source, "<tests>", mode, dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise BadTests(f"{what} does not compile: {type(error).__name__}: {error}") from None
    return tree  # type: ignore[return-value]


def _call(index: int, test: CallTest, foreign: frozenset[str]) -> Literal | Unit:
    expression = _parse(test.call, "a call", mode="eval").body
    try:
        expected = ast.literal_eval(test.expected.strip())
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        expected = constant(_parse(test.expected.strip(), "an expectation", mode="eval").body)
        if expected is NOT_LITERAL:
            raise BadTests(f"the expectation {shortened(test.expected)} is not a literal") from None

    def check(actual: object) -> bool:
        return compare.same_value(actual, expected, from_json=test.from_json)

    if isinstance(expression, ast.expr) and is_plain_call(expression, foreign):
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


def _probe(index: int, test: ProbeTest, foreign: frozenset[str]) -> Literal:
    call = (test.call or "").strip()
    if not is_plain_call(_parse(call, "a probe", mode="eval").body, foreign):  # type: ignore[arg-type]
        raise BadTests(f"the probe {shortened(call)} is no call of the program with literal arguments")
    return Literal(index, shortened(call), call, None, None, assertion=False)


def _literal_assert(index: int, tree: ast.Module, foreign: frozenset[str]) -> Literal | None:
    if len(tree.body) != 1 or not isinstance(tree.body[0], ast.Assert):
        return None
    found = claim(tree.body[0].test, foreign)
    if found is None:
        return None
    name = shortened(ast.unparse(tree.body[0]))
    return Literal(index, name, ast.unparse(found.call), found.check, found.expected, assertion=True)


def _listed(
    index: int, test: CodeTest, tree: ast.Module, entry_point: str | None, foreign: frozenset[str]
) -> list[Literal] | None:
    """The literal tests that test code lists, if it does nothing else."""
    if test.in_process or test.runner not in ("check", "script"):
        return None
    body = _body_of_check(tree, entry_point) if test.runner == "check" else tree.body
    found: list[Literal] = []
    for stmt in body or ():
        if not isinstance(stmt, ast.Assert):
            return None
        name = cases.title(stmt)
        claimed = claim(_Candidate(entry_point).visit(stmt.test) if test.runner == "check" else stmt.test, foreign)
        if claimed is None:
            return None
        call = ast.unparse(claimed.call)
        found.append(Literal(index, name, call, claimed.check, claimed.expected, assertion=True, case=len(found)))
    return found or None


def _body_of_check(tree: ast.Module, entry_point: str | None) -> list[ast.stmt] | None:
    """Statements of `check(candidate)` where nothing stands beside it but facts and a call of it."""
    found: list[ast.stmt] | None = None
    for stmt in tree.body:
        match stmt:
            case ast.FunctionDef(name="check", args=ast.arguments(args=[ast.arg(arg="candidate")], defaults=[])):
                plain = not (stmt.decorator_list or stmt.args.posonlyargs or stmt.args.kwonlyargs)
                if found is not None or not plain or stmt.args.vararg or stmt.args.kwarg:
                    return None
                found = stmt.body
            case ast.Assign(targets=[ast.Name(id="METADATA")]):
                if literal_value(stmt.value) is NOT_LITERAL:
                    return None
            case ast.Expr(value=ast.Call(func=ast.Name(id="check"), args=[ast.Name(id=name)], keywords=[])):
                if name not in (entry_point, "candidate"):
                    return None
            case _:
                return None
    return found if entry_point is not None and entry_point.isidentifier() else None


class _Candidate(ast.NodeTransformer):
    """Calls the entry point by its own name."""

    def __init__(self, entry_point: str | None) -> None:
        self._entry_point = entry_point or ""

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(self._entry_point, node.ctx) if node.id == "candidate" else node
