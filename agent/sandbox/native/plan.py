"""The tests that programs in other languages than Python can have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent.errors import BadTests
from agent.sandbox.claim import shortened
from agent.sandbox.native import expectation
from agent.sandbox.native.language import Language
from agent.sandbox.plan import MAX_SOURCE, Stdio
from memory.records import CallTest, ProbeTest, StdioTest, Test

_EXPECTATION = 500


@dataclass(frozen=True, slots=True)
class Call:
    """One call and its value; `index` is its place in what the caller gave."""

    index: int
    name: str
    call: str
    value: object
    expected: str
    """The value as it was given, for feedback."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The tests of one run."""

    calls: tuple[Call, ...]
    stdio: tuple[Stdio, ...]


def make(tests: Sequence[Test], language: Language) -> Plan:
    """Raises BadTests for tests in Python, and expectations that are no literals."""
    calls: list[Call] = []
    stdio: list[Stdio] = []
    for index, test in enumerate(tests):
        match test:
            case StdioTest():
                stdio.append(Stdio(index, f"stdin {index + 1}", test.stdin, test.stdout))
            case ProbeTest(stdin=str(text)):
                stdio.append(Stdio(index, f"stdin {index + 1}", text, None))
            case CallTest():
                if len(test.call) > MAX_SOURCE or not test.call.strip():
                    raise BadTests(f"tests[{index}]: a call is empty or longer than {MAX_SOURCE} characters")
                value = expectation.read(test.expected)
                expected = shortened(test.expected, _EXPECTATION)
                calls.append(Call(index, shortened(test.call), test.call, value, expected))
            case _:
                raise BadTests(
                    f"tests[{index}]: assert lines and test files are for Python; programs in {language} take "
                    '{"stdin", "stdout"} and {"call", "expected"} tests'
                )
    return Plan(tuple(calls), tuple(stdio))
