"""A verdict in the words of a prompt: short, concrete, and only about visible tests."""

from __future__ import annotations

from memory.records import Candidate, CaseResult, Outcome, Verdict

_MAX_CHARS = 600
_MAX_VARIABLES = 6

_KINDS = {
    Outcome.COMPILE_ERROR: "The program does not compile.",
    Outcome.RUNTIME_ERROR: "The program stops with an error.",
    Outcome.TIMEOUT: "The program takes too long: it probably never ends on this input.",
    Outcome.MEMORY_LIMIT: "The program uses too much memory.",
    Outcome.OUTPUT_LIMIT: "The program prints too much.",
    Outcome.FAILED_TEST: "The program gives a wrong result.",
}


def describe(candidate: Candidate, verdict: Verdict) -> str:
    """What went wrong first: kind, failing test with expected and actual, error with its line and variables."""
    if not candidate.code:
        return "The answer contains no program."
    parts = [_KINDS.get(verdict.outcome, "The program fails.")]
    case = _first_failure(verdict)
    if case is not None:
        parts.append(_case_text(case))
    if verdict.error is not None and verdict.outcome is not Outcome.FAILED_TEST:
        parts.append(_error_text(candidate, verdict))
    if verdict.total > 1:
        parts.append(f"{verdict.passed} of {verdict.total} tests pass.")
    return "\n".join(part for part in parts if part)


def progress(index: int, limit: int, candidate: Candidate, verdict: Verdict) -> str:
    """One line for a person who waits."""
    head = f"candidate {index}/{limit}: "
    if not candidate.code:
        return head + "no program in the answer"
    if verdict.total:
        text = f"{verdict.passed} of {verdict.total} tests pass"
    else:
        text = "loads" if verdict.outcome is Outcome.PASSED else "does not load"
    if verdict.error is not None and verdict.outcome not in (Outcome.PASSED, Outcome.FAILED_TEST):
        text += f" ({verdict.error.type})"
    return head + text


def _first_failure(verdict: Verdict) -> CaseResult | None:
    return next((case for case in verdict.cases if case.outcome is not Outcome.PASSED), None)


def _case_text(case: CaseResult) -> str:
    lines = [f"Failing test: {_short(case.name)}"]
    if case.expected is not None:
        lines.append(f"Expected: {_short(case.expected)}")
    if case.actual is not None:
        lines.append(f"Got: {_short(case.actual)}")
    elif case.message:
        lines.append(f"Result: {_short(case.message)}")
    return "\n".join(lines)


def _error_text(candidate: Candidate, verdict: Verdict) -> str:
    error = verdict.error
    if error is None:
        return ""
    text = f"Error: {error.type}: {_short(error.message)}" if error.message else f"Error: {error.type}"
    lines = candidate.code.splitlines()
    if error.line and 0 < error.line <= len(lines):
        text += f"\nAt line {error.line}: `{_short(lines[error.line - 1].strip())}`"
    held = [f"{name} = {value}" for name, value in error.variables[:_MAX_VARIABLES]]
    if held:
        text += f"\nVariables there: {_short(', '.join(held))}"
    return text


def _short(text: str) -> str:
    return text if len(text) <= _MAX_CHARS else f"{text[: _MAX_CHARS // 2]} … {text[-_MAX_CHARS // 2 :]}"
