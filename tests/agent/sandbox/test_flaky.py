"""Two runs with different random numbers."""

from __future__ import annotations

import pytest

from agent.sandbox import agreement
from agent.sandbox.pool import WorkerPool
from agent.sandbox.verdict import RANK
from memory.records import AssertTest, CaseResult, CodeTest, Outcome, StdioTest, Test, Verdict

pytestmark = pytest.mark.asyncio(loop_scope="session")

LUCKY = "import random\ndef f(x):\n    return x + 1 if random.random() > 0.5 else x\nif __name__ == '__main__':\n    print(f(1))\n"
"""Right for seed 0 (0.84), wrong for seed 1 (0.13)."""
TESTS: tuple[Test, ...] = (
    AssertTest(source="assert f(1) == 2"),
    CodeTest(source="def check(c):\n    assert c(1) == 2\n", runner="check"),
    StdioTest(stdin="", stdout="2"),
)


@pytest.mark.parametrize("test", TESTS)
async def test_a_lucky_program_is_not_passed(pool: WorkerPool, test: Test) -> None:
    unchecked = await pool.run(LUCKY, [test], entry_point="f")
    assert (unchecked.outcome, unchecked.flaky) == (Outcome.PASSED, False)
    checked = await pool.run(LUCKY, [test], entry_point="f", flaky_check=True)
    assert (checked.outcome, checked.flaky, checked.passed, checked.total) == (Outcome.FAILED_TEST, True, 0, 1)
    assert (checked.cases[0].message or "").startswith(agreement.MIXED)
    assert checked.error is not None


async def test_steady_programs_are_not_flaky(pool: WorkerPool) -> None:
    for body, outcome in (("x + 1", Outcome.PASSED), ("x", Outcome.FAILED_TEST), ("x / 0", Outcome.RUNTIME_ERROR)):
        verdict = await pool.run(f"def f(x):\n    return {body}\n", TESTS[:2], entry_point="f", flaky_check=True)
        assert (verdict.outcome, verdict.flaky) == (outcome, False)


async def test_random_numbers_of_the_test_differ_too(pool: WorkerPool) -> None:
    asserts = "    assert c(random.random()) is True\n" * 40
    check = CodeTest(source=f"import random\ndef check(c):\n{asserts}", runner="check")
    code = "def f(x):\n    return x > 0.5\n"
    assert (await pool.run(code, [check], entry_point="f", flaky_check=True)).flaky


def verdict(*outcomes: Outcome, lines: tuple[int, ...] = ()) -> Verdict:
    cases = tuple(CaseResult(name=str(number), outcome=outcome) for number, outcome in enumerate(outcomes))
    worst = min(outcomes, key=lambda outcome: RANK[outcome])
    passed = outcomes.count(Outcome.PASSED)
    executed = tuple((line, 0, line, 1) for line in lines)
    return Verdict(
        id="v", outcome=worst, passed=passed, total=len(cases), cases=cases, executed=executed, executed_lines=lines
    )


async def test_each_case_takes_its_worse_outcome() -> None:
    first = verdict(Outcome.PASSED, Outcome.TIMEOUT, Outcome.PASSED, lines=(1, 3))
    second = verdict(Outcome.FAILED_TEST, Outcome.PASSED, Outcome.PASSED, lines=(1, 2))
    for both in (agreement.of_both(first, second), agreement.of_both(second, first)):
        assert [case.outcome for case in both.cases] == [Outcome.FAILED_TEST, Outcome.TIMEOUT, Outcome.PASSED]
        assert (both.outcome, both.passed, both.flaky) == (Outcome.TIMEOUT, 1, True)
        assert both.executed_lines == (1, 2, 3)


async def test_our_own_failure_is_never_a_pass() -> None:
    ours = Verdict(id="v", outcome=Outcome.SANDBOX_ERROR, passed=0, total=0)
    assert agreement.of_both(verdict(Outcome.PASSED), ours).outcome is Outcome.SANDBOX_ERROR
