"""Choice and claim."""

from __future__ import annotations

from agent.select import claim, distinct, enough, ranked
from memory.records import AssertTest, Attempt, Outcome, Problem, TestSource, Verdict
from tests.fakes import candidate, program


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
    assert enough(attempts, 2) and not enough(attempts, 3)


def test_the_claim_is_never_more_than_was_checked() -> None:
    assert claim(PROBLEM, attempt(Outcome.PASSED, 2)) == "passed"
    assert claim(PROBLEM, attempt(Outcome.FAILED_TEST, 1)) == "failed"
    assert claim(PROBLEM, attempt(None)) == "unverified"
    assert claim(PROBLEM, attempt(Outcome.SANDBOX_ERROR)) == "unverified"
    assert claim(PROBLEM, None) == "unverified"
    untested = Problem(id="p", statement="")
    assert claim(untested, attempt(Outcome.PASSED, 0, 0)) == "unverified"
