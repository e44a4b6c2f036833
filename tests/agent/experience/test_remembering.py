"""What a trajectory leaves in memory."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.experience.remembering import experiences
from agent.task import read_problem
from memory.records import (
    Attempt,
    CaseResult,
    Fault,
    Outcome,
    Problem,
    Quality,
    TestSource,
    Trajectory,
    Verdict,
)
from tests.fakes import candidate, program

RIGHT = "def total(prices):\n    amount = 0\n    for price in prices:\n        amount += price\n    return amount"
CRASHES = RIGHT.replace("amount += price", "amount += prise")
WRONG = RIGHT.replace("amount = 0", "amount = 1")
ASK = "Write a Python function total(prices) that adds up the prices of a basket.\n\nassert total([1, 2]) == 3\n"


def attempt(code: str, verdict: Verdict) -> Attempt:
    return Attempt(candidate=candidate(program(code)), verdict=verdict, origin="sample", round=0)


def passed(code: str = RIGHT) -> Attempt:
    return attempt(code, Verdict(id="", outcome=Outcome.PASSED, passed=1, total=1))


def crashed() -> Attempt:
    fault = Fault(type="NameError", message="name 'prise' is not defined", line=4, span=(4, 8, 4, 23))
    return attempt(CRASHES, Verdict(id="", outcome=Outcome.RUNTIME_ERROR, passed=0, total=1, error=fault))


def mistaken() -> Attempt:
    case = CaseResult(name="total([1, 2])", outcome=Outcome.FAILED_TEST, expected="3", actual="4")
    return attempt(WRONG, Verdict(id="", outcome=Outcome.FAILED_TEST, passed=0, total=1, cases=(case,)))


def trajectory(*attempts: Attempt, problem: Problem | None = None, accepted: int | None = None) -> Trajectory:
    return Trajectory(
        id="traj_1",
        problem=problem or read_problem("p", [{"role": "user", "content": ASK}]),
        attempts=attempts,
        accepted=len(attempts) - 1 if accepted is None else accepted,
        status="finished",
        model_version="base",
        tenant="team",
        consent=False,
        started=1.0,
        ended=2.0,
        rounds=0,
    )


def test_a_verified_program_is_a_solution() -> None:
    (solution,) = experiences(trajectory(passed()), Quality(style=1.0))
    assert (solution.kind, solution.tenant, solution.trajectory_id) == ("solution", "team", "traj_1")
    assert solution.gist.startswith("total: Write a Python function") and "assert" not in solution.gist
    assert (solution.signature, solution.code.strip()) == ("def total(prices)", RIGHT)
    assert (solution.source, solution.passed, solution.total) == (TestSource.PROMPT, 1, 1)
    assert solution.quality.style == 1.0


def test_each_kind_of_failure_on_the_way_is_a_lesson() -> None:
    _, *lessons = experiences(trajectory(crashed(), mistaken(), crashed(), passed()), Quality())
    assert {lesson.error for lesson in lessons} == {"NameError", "failed_test"}
    crash = next(lesson for lesson in lessons if lesson.error == "NameError")
    assert crash.blamed.strip() == "amount += prise" and "prise" in crash.message
    assert "-        amount += prise" in crash.fix and "+        amount += price" in crash.fix
    wrong = next(lesson for lesson in lessons if lesson.error == "failed_test")
    assert wrong.message == "expected 3, got 4" and wrong.blamed == ""


def test_another_program_is_no_correction() -> None:
    other = attempt(
        "import sys\n\n\ntotal = sys.maxsize", Verdict(id="", outcome=Outcome.RUNTIME_ERROR, passed=0, total=1)
    )
    assert [one.kind for one in experiences(trajectory(other, passed()), Quality())] == ["solution"]


@pytest.mark.parametrize("source", [TestSource.GENERATED, TestSource.NONE])
def test_what_was_not_verified_is_not_remembered(source: TestSource) -> None:
    problem = replace(read_problem("p", [{"role": "user", "content": ASK}]), visible_source=source)
    assert experiences(trajectory(passed(), problem=problem), Quality()) == []


def test_nor_what_failed_or_was_judged_beside_the_program_or_came_from_memory() -> None:
    beside = Verdict(id="", outcome=Outcome.PASSED, passed=1, total=1, integrity="in_process")
    assert experiences(trajectory(mistaken()), Quality()) == []
    assert experiences(trajectory(attempt(RIGHT, beside)), Quality()) == []
    assert experiences(trajectory(replace(passed(), origin="recalled")), Quality()) == []
    assert experiences(replace(trajectory(passed()), accepted=None), Quality()) == []


def test_the_same_answer_to_the_same_task_is_one_experience() -> None:
    first, again = (experiences(trajectory(crashed(), passed()), Quality()) for _ in range(2))
    assert [one.id for one in first] == [one.id for one in again] and len({one.id for one in first}) == 2


def test_a_program_stands_alone() -> None:
    needs = "def total(prices):\n    return math.fsum(prices)"
    (solution,) = experiences(trajectory(passed(needs)), Quality())
    assert solution.code.startswith("import math\n")
