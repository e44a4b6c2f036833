"""The choice among attempts, and what may be claimed about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from memory.records import Attempt, Outcome, Problem

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

Claim = Literal["passed", "failed", "unverified"]


def is_solved(attempt: Attempt) -> bool:
    """Every visible test ran and passed; without tests, the program loads."""
    return attempt.verdict is not None and attempt.verdict.outcome is Outcome.PASSED


def enough(attempts: Sequence[Attempt], wanted: int) -> bool:
    """Whether `wanted` distinct programs are solved."""
    return len({attempt.candidate.code.strip() for attempt in attempts if is_solved(attempt)}) >= wanted


def ranked(attempts: Sequence[Attempt]) -> list[int]:
    """Indices from best to worst: share of visible tests passed, then kind of outcome, then the earlier attempt."""
    return sorted(range(len(attempts)), key=lambda index: (*_quality(attempts[index]), -index), reverse=True)


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
