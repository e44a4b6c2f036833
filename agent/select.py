"""The choice among attempts, when it is safe, and what may be claimed about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from agent.budget import QUORUM, UNTESTED_QUORUM, Budget
from memory.programs import normal
from memory.records import Attempt, Outcome, Problem, Score

_ORDER = {
    Outcome.PASSED: 5,
    Outcome.FAILED_TEST: 4,
    Outcome.RUNTIME_ERROR: 3,
    Outcome.TIMEOUT: 3,
    Outcome.MEMORY_LIMIT: 3,
    Outcome.OUTPUT_LIMIT: 3,
    Outcome.SANDBOX_ERROR: 2,
    Outcome.COMPILE_ERROR: 1,
}
_NO_SCORES: Mapping[int, Score] = {}
_CONSENSUS = 0.5
"""Weight of what the model's own tests say, beside agreement: half of their expectations are wrong."""

Claim = Literal["passed", "failed", "unverified"]


def is_solved(attempt: Attempt) -> bool:
    """Every visible test ran and passed; without tests, the program loads."""
    return attempt.verdict is not None and attempt.verdict.outcome is Outcome.PASSED


def solved(attempts: Sequence[Attempt]) -> list[int]:
    """Indices of the attempts that are solved."""
    return [index for index, attempt in enumerate(attempts) if is_solved(attempt)]


def enough(attempts: Sequence[Attempt], problem: Problem, budget: Budget) -> bool:
    """Whether more candidates would hardly change the answer.

    One verified program is. Where the passing ones are to be refined, that holds for the first answer only: where a
    model is right at once, its choice is safe; later ones were chosen by the tests among many. Without tests none is
    verified, and all that can be done is compare.
    """
    good = solved(attempts)
    if len(good) < budget.wanted:
        return False
    if budget.wanted > 1 and len({normal(attempts[index].candidate.code) for index in good}) < budget.wanted:
        return False
    if not problem.visible:
        return not budget.generated_tests or len(good) >= UNTESTED_QUORUM
    return not budget.prefix_seeds or is_solved(attempts[0]) or len(good) >= QUORUM


def ranked(attempts: Sequence[Attempt], scores: Mapping[int, Score] = _NO_SCORES) -> list[int]:
    """Indices from best to worst: share of visible tests passed, kind of outcome, what a comparison found out, then the
    earlier attempt."""
    return sorted(
        range(len(attempts)),
        key=lambda index: (*_quality(attempts[index]), *_compared(scores.get(index)), -index),
        reverse=True,
    )


def repairable(attempts: Sequence[Attempt]) -> list[int]:
    """Of the failing attempts that no other started from yet, those that pass most tests, best first. Sandbox errors
    say nothing about a program."""
    used = {attempt.parent for attempt in attempts}
    order = [
        index
        for index in ranked(attempts)
        if index not in used
        and (verdict := attempts[index].verdict) is not None
        and verdict.outcome is not Outcome.SANDBOX_ERROR
    ]
    return [index for index in order if _quality(attempts[index])[0] == _quality(attempts[order[0]])[0]]


def distinct(attempts: Sequence[Attempt], order: Sequence[int]) -> list[int]:
    """`order` without attempts whose program stands earlier in it."""
    seen: set[str] = set()
    kept: list[int] = []
    for index in order:
        code = attempts[index].candidate.code.strip() or attempts[index].candidate.text
        if code not in seen:
            seen.add(code)
            kept.append(index)
    return kept


def claim(problem: Problem, attempt: Attempt | None) -> Claim:
    """What the answer may say: never more than was checked."""
    if attempt is None or attempt.verdict is None or not problem.visible:
        return "unverified"
    if attempt.verdict.outcome is Outcome.SANDBOX_ERROR:
        return "unverified"
    return "passed" if is_solved(attempt) else "failed"


def _quality(attempt: Attempt) -> tuple[float, int]:
    verdict = attempt.verdict
    if verdict is None:
        return (0.0, 2 if attempt.candidate.code else 0)
    share = verdict.passed / verdict.total if verdict.total else 0.0
    return (share, _ORDER[verdict.outcome])


def _compared(score: Score | None) -> tuple[float, float]:
    if score is None:
        return (0.0, 0.0)
    voices = (score.agreement or 0.0) + _CONSENSUS * (score.consensus or 0.0)
    return (round(voices, 6), score.critic.passed if score.critic is not None else 0.0)
