"""Test code made ready in the server, and run as it was told."""

from __future__ import annotations

import pytest

from agent.sandbox.pool import WorkerPool
from agent.sandbox.suite import script
from memory.records import AssertTest, CodeTest, Outcome

_CHECK = """
def helper(x):
    return [y for y in x]

def check(candidate):
    limit = 3
    assert candidate(limit) == 4
    assert helper([1]) == [1]
"""


@pytest.mark.parametrize("runner", ["check", "script", "assert", "pytest", "prelude"])
def test_what_is_heard_is_what_would_be_made_there(runner: str) -> None:
    told = script.told(_CHECK, runner)
    assert told is not None

    heard = script.heard(told, _CHECK, runner)

    assert heard == script.prepare(_CHECK, runner)


def test_names_and_cases_of_a_source() -> None:
    made = script.prepare(_CHECK, "check")

    assert made.cases == ["assert candidate(limit) == 4", "assert helper([1]) == [1]"]
    assert {"candidate", "helper", "limit"} <= made.used
    assert made.called == {"candidate", "helper"}
    assert {"check", "helper", "limit", "y"} <= made.bound
    assert not made.calls_check
    assert script.prepare(_CHECK + "check(f)\n", "check").calls_check


def test_an_expression_is_evaluated() -> None:
    made = script.heard(script.told("f(2) + 1", "value"), "f(2) + 1", "value")

    assert eval(made.code, {"f": lambda x: 10 * x}) == 21
    assert made.called == {"f"}


@pytest.mark.parametrize("source", ["def f(:", "x = " + "(" * 300 + ")" * 300])
def test_what_does_not_compile_is_left_to_be_told_where_it_runs(source: str) -> None:
    assert script.told(source, "script") is None
    with pytest.raises(SyntaxError):
        script.heard(None, source, "script")


@pytest.mark.asyncio(loop_scope="session")
async def test_what_is_too_long_to_be_told_runs_as_well(pool: WorkerPool) -> None:
    source = f"TEXT = {'x' * 300_000!r}\n{_CHECK}    assert len(TEXT) == 300_000\n    assert candidate(1) == 3\n"
    assert script.told(source, "check") is None

    verdict = await pool.run(
        "def f(x):\n    return x + 1\n", [CodeTest(source=source, runner="check")], entry_point="f"
    )

    assert [case.outcome for case in verdict.cases] == [*[Outcome.PASSED] * 3, Outcome.FAILED_TEST]


@pytest.mark.asyncio(loop_scope="session")
async def test_more_than_one_message_may_hold_runs_as_well(pool: WorkerPool) -> None:
    sources = [f"assert f(len({'x' * 10_000!r}) + f({number})) == {10_002 + number}" for number in range(300)]
    assert sum(len(script.told(source, "assert") or "") for source in sources) > 1 << 21

    verdict = await pool.run(
        "def f(x):\n    return x + 1\n", [AssertTest(source=source) for source in sources], entry_point="f"
    )

    assert {case.outcome for case in verdict.cases} == {Outcome.PASSED}
    assert len(verdict.cases) == 300


@pytest.mark.asyncio(loop_scope="session")
async def test_a_prelude_of_the_tests_finds_the_program(pool: WorkerPool) -> None:
    prelude = "import math\n\ndef near(a, b):\n    return math.isclose(a, b) and f(0) == 1\n"

    verdict = await pool.run(
        "def f(x):\n    return x + 1\n",
        [CodeTest(source="def check(candidate):\n    assert near(candidate(1), 2.0)\n", runner="check")],
        entry_point="f",
        prelude=prelude,
    )

    assert verdict.outcome is Outcome.PASSED, verdict
