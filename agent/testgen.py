"""Tests that the model writes itself (CodeT, arXiv 2207.10397): their inputs are good, their expectations often wrong.

So they are never a verdict on a program, only a voice in the choice between programs.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from math import sqrt

from agent.examples.values import is_constant
from agent.extract import extract
from memory.records import CallTest, Outcome, Verdict
from memory.syntax import expression, parse

MAX_TESTS = 12


def read_written(text: str, called: str) -> tuple[CallTest, ...]:
    """The literal asserts on `called` (`f`, or `Class().method`) in a model's answer, without repetitions and
    contradictions."""
    code = extract(text).code or text
    found: dict[str, str] = {}
    torn: set[str] = set()
    for line in code.splitlines():
        tree = parse(line.strip())
        stmt = tree.body[0] if tree is not None and len(tree.body) == 1 else None
        if not isinstance(stmt, ast.Assert):
            continue
        claim = _claim(stmt.test, called)
        if claim is None:
            continue
        call, expected = claim
        if found.setdefault(call, expected) != expected:
            torn.add(call)
    kept = [CallTest(call=call, expected=expected) for call, expected in found.items() if call not in torn]
    return tuple(kept[:MAX_TESTS])


def _claim(test: ast.expr, called: str) -> tuple[str, str] | None:
    """`f(literals) == literal`, or the bare call and its negation for truth values, as call and expectation."""
    match test:
        case ast.Compare(left=ast.Call() as call, ops=[ast.Eq() | ast.Is()], comparators=[expected]):
            wanted = ast.unparse(expected)
        case ast.UnaryOp(op=ast.Not(), operand=ast.Call() as call):
            wanted = "False"
        case ast.Call() as call:
            wanted = "True"
        case _:
            return None
    function = ast.unparse(call.func)
    instance, _, method = function.rpartition(".")
    if function != called and not (instance.isidentifier() and called.endswith(f"().{method}")):
        return None
    literals = [*call.args, *(keyword.value for keyword in call.keywords), expression(wanted)]
    if not all(literal is not None and is_constant(literal) for literal in literals):
        return None
    return called + ast.unparse(call)[len(function) :], wanted


def consensus(verdicts: Sequence[Verdict | None], votes: Sequence[int]) -> list[float]:
    """CodeT's score of each program, as a share of the best: programs that pass the same tests are one set, worth the
    root of its size (`votes`: how many programs each stands for) times the number of tests that it passes."""
    passed = [
        frozenset(place for place, case in enumerate(verdict.cases) if case.outcome is Outcome.PASSED)
        if verdict is not None
        else frozenset[int]()
        for verdict in verdicts
    ]
    sizes: dict[frozenset[int], int] = {}
    for tests, count in zip(passed, votes, strict=True):
        sizes[tests] = sizes.get(tests, 0) + count
    scores = [sqrt(sizes[tests]) * len(tests) for tests in passed]
    best = max(scores, default=0.0)
    return [score / best if best else 0.0 for score in scores]
