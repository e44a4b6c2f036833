"""From limits, exit reports and case results to a Verdict."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass

from agent.sandbox.compare import COMPARATOR_VERSION
from agent.sandbox.process import Exit
from memory.records import CaseResult, Fault, Limits, Outcome, Span, Verdict

RANK = {
    Outcome.SANDBOX_ERROR: 0,
    Outcome.COMPILE_ERROR: 1,
    Outcome.RUNTIME_ERROR: 2,
    Outcome.TIMEOUT: 2,
    Outcome.MEMORY_LIMIT: 2,
    Outcome.OUTPUT_LIMIT: 2,
    Outcome.FAILED_TEST: 3,
    Outcome.PASSED: 4,
}
"""How far a program came; of several outcomes the lowest counts."""
_SHOWN_OUTPUT = 32 * 1024


@dataclass(frozen=True, slots=True)
class Case:
    """One case with the fault behind it; None where it passed."""

    result: CaseResult
    fault: Fault | None


@dataclass(frozen=True, slots=True)
class Observed:
    """What was measured over all processes of a run."""

    executed: tuple[Span, ...] = ()
    stdout: bytes = b""
    stderr: bytes = b""
    seconds: float = 0.0
    peak_mb: float = 0.0


def assemble(
    run_id: str, cases: Sequence[Case], observed: Observed, load: Case | None = None, *, in_process: bool = False
) -> Verdict:
    """The verdict over `cases`: its outcome and fault are those of the worst case, the earliest of several. `load` is
    the result of loading the program where there is no test to carry it."""
    worst = min((*cases, *([load] if load else [])), key=lambda case: RANK[case.result.outcome], default=None)
    return Verdict(
        id=run_id,
        outcome=worst.result.outcome if worst else Outcome.PASSED,
        passed=sum(case.result.outcome is Outcome.PASSED for case in cases),
        total=len(cases),
        cases=tuple(case.result for case in cases),
        error=worst.fault if worst else None,
        executed_lines=tuple(sorted({span[0] for span in observed.executed})),
        executed=observed.executed,
        stdout=shown(observed.stdout),
        stderr=shown(observed.stderr),
        seconds=observed.seconds,
        peak_mb=round(observed.peak_mb, 3),
        integrity="in_process" if in_process else "isolated",
        comparator=COMPARATOR_VERSION if cases else 0,
    )


def sandbox_error(run_id: str, message: str, seconds: float = 0.0) -> Verdict:
    """Burnish's own failure."""
    return Verdict(
        id=run_id,
        outcome=Outcome.SANDBOX_ERROR,
        passed=0,
        total=0,
        error=Fault(type=Outcome.SANDBOX_ERROR.value, message=message),
        seconds=seconds,
    )


def of_exit(ended: Exit, limits: Limits, *, overflow: bool, line: int | None) -> tuple[Outcome, Fault]:
    """Outcome and fault of a process that ended before it had answered; `line` is where it was last seen."""
    if overflow:
        message = f"more than {limits.output_bytes} bytes of output"
        return Outcome.OUTPUT_LIMIT, Fault(type=Outcome.OUTPUT_LIMIT.value, message=message, line=line)
    told = {
        "test_cpu": f"CPU limit of {limits.cpu_seconds_per_test:g} s per test exceeded",
        "cpu": f"CPU limit of {limits.cpu_seconds:g} s per run exceeded",
        "test_wall": _waited(ended, limits.cpu_seconds_per_test),
        "wall": _waited(ended, limits.cpu_seconds),
    }.get(ended.reason or "")
    if told is None and ended.status in (-signal.SIGXCPU, -signal.SIGKILL) and ended.cpu >= limits.cpu_seconds:
        told = f"CPU limit of {limits.cpu_seconds:g} s per run exceeded"
    if told is not None:
        return Outcome.TIMEOUT, Fault(type=Outcome.TIMEOUT.value, message=told, line=line)
    if ended.status == -signal.SIGKILL and ended.peak_mb > limits.memory_mb / 2:
        return Outcome.MEMORY_LIMIT, Fault(type=Outcome.MEMORY_LIMIT.value, message="killed for want of memory")
    if ended.status < 0:
        name = _signal_name(-ended.status)
        return Outcome.RUNTIME_ERROR, Fault(type=name, message=f"the program was ended by {name}", line=line)
    message = f"the program ended with status {ended.status} before all tests had run"
    return Outcome.RUNTIME_ERROR, Fault(type="SystemExit", message=message, line=line)


def _waited(ended: Exit, cpu_limit: float) -> str:
    """What the wall clock's end says: a program that had computed all the while did not wait."""
    if ended.cpu < cpu_limit / 2:
        return "waited too long without computing (sleep, deadlock or input that never comes)"
    return f"still computing when the wall clock ran out, after {ended.cpu:.2f} s of CPU on a busy machine"


def shown(output: bytes) -> str:
    """`output` as text; of a long one the beginning and the end, 32 Ki characters each."""
    if len(output) <= 2 * _SHOWN_OUTPUT and len(text := _decoded(output)) <= 2 * _SHOWN_OUTPUT:
        return text
    middle = len(output) // 2
    first = _decoded(output[:middle][:_SHOWN_OUTPUT])[:_SHOWN_OUTPUT]
    last = _decoded(output[middle:][-_SHOWN_OUTPUT:])[-_SHOWN_OUTPUT:]
    return f"{first}\n[cut: {len(output)} bytes in all]\n{last}"


def _decoded(output: bytes) -> str:
    return output.decode("utf-8", "backslashreplace")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
