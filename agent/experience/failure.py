"""The failure of an attempt as lessons keep and find it: error kind, message, blamed lines."""

from __future__ import annotations

from dataclasses import dataclass

from memory.records import Attempt, Outcome

_MAX_CHARS = 300


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong."""

    kind: str
    """The exception's class, or the outcome where there is none."""
    message: str
    blamed: str
    """Lines of the program; empty if none is to blame."""


def failure(attempt: Attempt) -> Failure | None:
    """None for an attempt that passed, was not run, or met a failure of ours."""
    verdict = attempt.verdict
    if verdict is None or verdict.outcome in (Outcome.PASSED, Outcome.SANDBOX_ERROR):
        return None
    error = verdict.error
    if error is None or verdict.outcome is Outcome.FAILED_TEST:
        case = next((case for case in verdict.cases if case.outcome is not Outcome.PASSED), None)
        message = f"expected {case.expected}, got {case.actual}" if case is not None and case.expected else ""
        return Failure(verdict.outcome.value, message[:_MAX_CHARS], "")
    lines = attempt.candidate.code.split("\n")
    first, last = (error.span[0], error.span[2]) if error.span else (error.line or 0, error.line or 0)
    blamed = "\n".join(lines[first - 1 : last]) if first else ""
    return Failure(error.type, error.message[:_MAX_CHARS], blamed[:_MAX_CHARS])
