"""Two verdicts on one program, made with different random numbers, as one."""

from __future__ import annotations

from dataclasses import replace

from agent.sandbox.verdict import RANK
from memory.records import CaseResult, Outcome, Verdict

MIXED = "flaky: two runs with different random numbers disagreed"


def of_both(first: Verdict, second: Verdict) -> Verdict:
    """The worse of both, case by case; `flaky` if they disagree on any outcome."""
    worse, other = sorted((first, second), key=lambda verdict: RANK[verdict.outcome])
    if len(worse.cases) != len(other.cases):
        return _together(worse, other, flaky=True)
    cases = tuple(_worse(one, two) for one, two in zip(worse.cases, other.cases, strict=True))
    flaky = worse.outcome is not other.outcome or any(
        one.outcome is not two.outcome for one, two in zip(worse.cases, other.cases, strict=True)
    )
    passed = sum(case.outcome is Outcome.PASSED for case in cases)
    return _together(replace(worse, cases=cases, passed=passed), other, flaky=flaky)


def _worse(one: CaseResult, two: CaseResult) -> CaseResult:
    worse, other = sorted((one, two), key=lambda case: RANK[case.outcome])
    lines = tuple(sorted({*one.executed_lines, *two.executed_lines}))
    seconds = max(one.seconds, two.seconds)
    if worse.outcome is other.outcome:
        return replace(worse, executed_lines=lines, seconds=seconds)
    message = f"{MIXED}; {worse.message}" if worse.message else MIXED
    return replace(worse, executed_lines=lines, seconds=seconds, message=message)


def _together(worse: Verdict, other: Verdict, *, flaky: bool) -> Verdict:
    executed = tuple(sorted({*worse.executed, *other.executed}))
    return replace(
        worse,
        executed=executed,
        executed_lines=tuple(sorted({span[0] for span in executed})),
        seconds=worse.seconds + other.seconds,
        peak_mb=max(worse.peak_mb, other.peak_mb),
        flaky=flaky,
    )
