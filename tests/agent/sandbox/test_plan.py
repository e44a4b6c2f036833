"""Where the verdict of a test is computed."""

from __future__ import annotations

from typing import Literal

import pytest

from agent.sandbox import plan
from agent.sandbox.pool import WorkerPool
from memory.records import CodeTest, Limits, Outcome

CHECK = """
METADATA = {"author": "somebody"}

def check(candidate):
    assert candidate(1) == 2, "first"
    assert abs(candidate(x=5) - 6) < 1e-6
    assert not candidate(-1)
"""


def made(
    source: str, *, runner: Literal["check", "script"] = "check", entry_point: str | None = "f", prelude: str = ""
) -> plan.Plan:
    return plan.make([CodeTest(source=source, runner=runner)], entry_point=entry_point, prelude=prelude)


def test_list_of_literal_asserts() -> None:
    for source in (CHECK, CHECK + "\ncheck(f)\n"):
        found = made(source)
        assert [(one.case, one.call) for one in found.literals] == [(0, "f(1)"), (1, "f(x=5)"), (2, "f(-1)")]
        assert found.literals[0].name == "assert candidate(1) == 2, 'first'"
        assert not found.units
    assert len(made("assert f(1) == 2\nassert f(2) == 3", runner="script").literals) == 2


@pytest.mark.parametrize(
    "source",
    [
        CHECK + "\npass\n",
        CHECK + "\ncheck(g)\n",
        CHECK + "\nassert f(1) == 2\n",
        CHECK + "\ndef check(candidate):\n    assert candidate(2) == 3\n",
        CHECK.replace("(candidate):", "(candidate, more=1):"),
        CHECK.replace("(candidate):", "(candidate, *more):"),
        CHECK.replace("def check", "@decorated\ndef check"),
        CHECK.replace('"somebody"', "f(3)"),
        "def check(candidate):\n    for x in (1, 2):\n        assert candidate(x) == x + 1\n",
        "def check(candidate):\n    candidate = len\n    assert candidate('ab') == 2\n",
        "def check(candidate):\n    assert candidate(candidate(1)) == 3\n",
        "def check(candidate):\n    assert len(candidate(1)) == 3\n",
        "def check(candidate):\n    assert candidate(1) == candidate(1)\n",
    ],
)
def test_anything_else_is_for_the_judge(source: str) -> None:
    found = made(source)
    assert not found.literals
    assert len(found.units) == 1


@pytest.mark.parametrize("entry_point", ["Solution().f", None])
def test_one_object_for_all_cases_is_for_the_judge(entry_point: str | None) -> None:
    assert made(CHECK, entry_point=entry_point).units


@pytest.mark.parametrize("call", ["f(1)", "Solution().solve(1)", "Point(1)", "module.f(1)"])
def test_calls_that_the_program_answers(call: str) -> None:
    assert made(f"assert {call} == 2", runner="script").literals


@pytest.mark.parametrize("call", ["f('ab').startswith('AB')", "f(1).__eq__(2)", "Solution().solve(1).count(2)"])
def test_what_an_answer_says_is_for_the_judge(call: str) -> None:
    assert made(f"assert {call}", runner="script").units


def test_names_of_the_prelude_are_not_the_programs() -> None:
    source = "assert helper(1) == 2"
    assert made(source, runner="script", prelude="def helper(x): return x + 1").units


@pytest.mark.asyncio(loop_scope="session")
async def test_all_cases_run_in_their_order(pool: WorkerPool) -> None:
    source = "def check(candidate):\n" + "".join(f"    assert candidate({n}) == {n + 1}\n" for n in range(5))
    code = "def f(x):\n    while x == 1: pass\n    return x + (x != 3)"
    limits = Limits(cpu_seconds_per_test=0.3)
    verdict = await pool.run(code, [CodeTest(source=source, runner="check")], entry_point="f", limits=limits)
    assert [case.name for case in verdict.cases] == [f"assert candidate({n}) == {n + 1}" for n in range(5)]
    right, wrong = Outcome.PASSED, Outcome.FAILED_TEST
    assert [case.outcome for case in verdict.cases] == [right, Outcome.TIMEOUT, right, wrong, right]


def test_doubtful_test_code_warns_nobody(recwarn: pytest.WarningsRecorder) -> None:
    source = "def check(candidate):\n    x = '\\d'\n    assert candidate(1) is 2\n    assert 1 is 2\n    pass\n"

    (unit,) = plan.make([CodeTest(source=source, runner="check")], entry_point="f", prelude="y = '\\d'\n").units

    assert unit.script is not None
    assert not recwarn.list
