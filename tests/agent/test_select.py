"""Choice and claim."""

from __future__ import annotations

from typing import Any

import pytest

from agent.budget import QUORUM, UNTESTED_QUORUM
from agent.select import claim, distinct, enough, ranked
from memory.records import AssertTest, Attempt, Opinion, Outcome, Problem, Score, TestSource, Verdict
from tests.fakes import budget_of, candidate, program


def attempt(outcome: Outcome | None, passed: int = 0, total: int = 2, code: str = "x = 1") -> Attempt:
    verdict = None if outcome is None else Verdict(id="", outcome=outcome, passed=passed, total=total)
    return Attempt(candidate=candidate(program(code)), verdict=verdict, origin="sample", round=0)


PROBLEM = Problem(
    id="p", statement="", visible=(AssertTest(source="assert f() == 1"),), visible_source=TestSource.PROMPT
)


def test_order() -> None:
    attempts = [
        attempt(Outcome.COMPILE_ERROR),
        attempt(None),
        attempt(Outcome.RUNTIME_ERROR),
        attempt(Outcome.FAILED_TEST, 1),
        attempt(Outcome.PASSED, 2),
        attempt(Outcome.FAILED_TEST),
        attempt(Outcome.PASSED, 2),
    ]
    assert ranked(attempts) == [4, 6, 3, 5, 2, 1, 0]


def test_distinct_programs() -> None:
    attempts = [attempt(Outcome.PASSED, 2, code=code) for code in ("x = 1", "x = 2", "x = 1")]
    assert distinct(attempts, [0, 2, 1]) == [0, 1]


@pytest.mark.parametrize(
    ("passed", "limits", "expected"),
    [
        ("+", {}, True),
        ("-", {}, False),
        ("-" + "+" * (QUORUM - 1), {}, QUORUM == 1),
        ("-" + "+" * QUORUM, {}, True),
        ("-+", {"prefix_seeds": False}, True),
        ("+", {"wanted": 2}, False),
        ("++", {"wanted": 2}, True),
    ],
)
def test_when_a_choice_is_safe(passed: str, limits: dict[str, Any], expected: bool) -> None:
    attempts = [
        attempt(Outcome.PASSED, 2, code=f"x = {place}") if one == "+" else attempt(Outcome.FAILED_TEST)
        for place, one in enumerate(passed)
    ]
    assert enough(attempts, PROBLEM, budget_of(**limits)) is expected


def test_without_tests_programs_are_compared() -> None:
    untested = Problem(id="p", statement="")
    loads = [attempt(Outcome.PASSED, 0, 0)] * UNTESTED_QUORUM
    assert enough(loads, untested, budget_of()) and not enough(loads[1:], untested, budget_of())
    assert enough(loads[:1], untested, budget_of(generated_tests=False))


def test_what_a_comparison_found_out_decides_between_equals_only() -> None:
    attempts = [attempt(Outcome.PASSED, 2), attempt(Outcome.PASSED, 2), attempt(Outcome.FAILED_TEST, 1)]
    likely = Opinion(passed=0.9, failed=0.1, crashes=0.0, invalid=0.0, by="m")
    scores = {0: Score(agreement=0.5), 1: Score(agreement=0.7), 2: Score(agreement=1.0)}
    assert ranked(attempts, scores) == [1, 0, 2]
    assert ranked(attempts, {0: Score(agreement=0.7), 1: Score(agreement=0.7, critic=likely)}) == [1, 0, 2]
    assert ranked(attempts, {0: Score(agreement=0.6, consensus=1.0), 1: Score(agreement=0.7, consensus=0.5)})[0] == 0


def test_the_claim_is_never_more_than_was_checked() -> None:
    assert claim(PROBLEM, attempt(Outcome.PASSED, 2)) == "passed"
    assert claim(PROBLEM, attempt(Outcome.FAILED_TEST, 1)) == "failed"
    assert claim(PROBLEM, attempt(None)) == "unverified"
    assert claim(PROBLEM, attempt(Outcome.SANDBOX_ERROR)) == "unverified"
    assert claim(PROBLEM, None) == "unverified"
    untested = Problem(id="p", statement="")
    assert claim(untested, attempt(Outcome.PASSED, 0, 0)) == "unverified"
