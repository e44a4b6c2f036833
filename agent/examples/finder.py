"""The entry: all tests in a prompt. Read `find_tests` first."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable

from agent.examples.asserts import asserts
from agent.examples.blocks import blocks
from agent.examples.calls import calls
from agent.examples.doctests import doctests
from agent.examples.failures import reported
from agent.examples.misnamed import renamed
from agent.examples.pasted import pasted_files
from agent.examples.signature import signature
from agent.examples.stdio import stdio_samples
from memory.records import AssertTest, CallTest, Test
from memory.syntax import parse

MAX_STATEMENT = 200_000
"""Characters; no example is looked for in a longer statement."""
MAX_TESTS = 200
_STANDARD_INPUT = re.compile(r"\bstdin\b|standard input|\binput\(\)", re.IGNORECASE)


def find_tests(statement: str, entry_point: str | None) -> tuple[Test, ...]:
    """The tests in `statement`, by form and in order of appearance, without repetitions. Never raises.

    An expectation is never invented: what cannot be read exactly is dropped.
    """
    if len(statement) > MAX_STATEMENT:
        return ()
    text = statement.replace("\r\n", "\n").replace("\xa0", " ")
    found: list[Test] = []
    for file in list(pasted_files(text, entry_point)):
        found.append(file.test)
        text = text[: file.start] + re.sub(r"[^\n]", " ", text[file.start : file.end]) + text[file.end :]
    how = signature(text, entry_point)
    samples_text, text = text, text.replace('"""', "\n").replace("'''", "\n")
    found += [*asserts(text), *doctests(text), *reported(text), *calls(text, how, entry_point)]
    found += blocks(text, how, entry_point)
    if how is not None and not any(isinstance(test, AssertTest | CallTest) for test in found):
        found += renamed(text, how)
    is_program = entry_point is None or (_STANDARD_INPUT.search(text) and (how is None or how.parameters is None))
    if is_program and not found:
        found += stdio_samples(samples_text)
    return _without_contradictions(_unique(found))[:MAX_TESTS]


def _unique(tests: Iterable[Test]) -> list[Test]:
    """Two spellings of one check are one test."""
    unique: dict[str, Test] = {}
    for test in tests:
        unique.setdefault(_key(test), test)
    return list(unique.values())


def _key(test: Test) -> str:
    match test:
        case CallTest():
            return _normal(f"assert {test.call} == {test.expected}")
        case AssertTest():
            return _normal(test.source)
        case _:
            return repr(test)


def _normal(source: str) -> str:
    tree = parse(source)
    try:
        return source if tree is None else ast.unparse(tree)
    except (ValueError, RecursionError):  # a whole number too long to print
        return source


def _without_contradictions(tests: list[Test]) -> tuple[Test, ...]:
    """Without calls for which the statement gives two values: one is wrong, and nobody can tell which."""
    values: dict[str, set[str]] = {}
    for test in tests:
        if isinstance(test, CallTest):
            values.setdefault(_normal(test.call), set()).add(_normal(test.expected))
    return tuple(test for test in tests if not isinstance(test, CallTest) or len(values[_normal(test.call)]) == 1)
