"""From limits, exit reports and case results to a Verdict. What the program said is read as untrusted text."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass

from agent.sandbox.process import Exit
from agent.sandbox.program.trace import MAX_STATEMENTS
from agent.sandbox.program.variables import MAX_TEXT, MAX_VARIABLES
from agent.sandbox.wire.codec import Json
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
_MESSAGE = 1000
_TRACEBACK = 8000


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


def of_fault(fault: Json, *, compiling: bool = False) -> tuple[Outcome, Fault]:
    """Outcome and record of an exception that the program's process described."""
    record = fault if type(fault) is dict else {}
    line, span = record.get("line"), _span(record.get("span"))
    made = Fault(
        type=_text(record.get("type"), 200) or "Exception",
        message=_text(record.get("message"), _MESSAGE),
        line=line if type(line) is int and line > 0 else None,
        span=span,
        traceback=_text(record.get("traceback"), _TRACEBACK),
        variables=_variables(record.get("variables")),
    )
    if compiling:
        return Outcome.COMPILE_ERROR, made
    return (Outcome.MEMORY_LIMIT if record.get("memory") is True else Outcome.RUNTIME_ERROR), made


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


def spans(wire: Json) -> tuple[Span, ...]:
    """Places of a program's statements, as its process told them; none if any of them is not a place."""
    if type(wire) is not list or len(wire) > MAX_STATEMENTS:
        return ()
    found = [_span(item) for item in wire]
    return () if None in found else tuple(span for span in found if span is not None)


def shown(output: bytes) -> str:
    """`output` as text; of a long one the first and the last 32 KiB."""
    if len(output) > 2 * _SHOWN_OUTPUT:
        left_out = len(output) - 2 * _SHOWN_OUTPUT
        marker = f"\n[{left_out} bytes left out]\n".encode()
        output = output[:_SHOWN_OUTPUT] + marker + output[-_SHOWN_OUTPUT:]
    return output.decode("utf-8", "backslashreplace")


def _variables(wire: Json) -> tuple[tuple[str, str], ...]:
    pairs = wire[:MAX_VARIABLES] if type(wire) is list else []
    return tuple(
        (_text(pair[0], MAX_TEXT), _text(pair[1], MAX_TEXT)) for pair in pairs if type(pair) is list and len(pair) == 2
    )


def _span(wire: Json) -> Span | None:
    if type(wire) is list and len(wire) == 4 and all(type(part) is int and 0 <= part < 1 << 31 for part in wire):
        return (wire[0], wire[1], wire[2], wire[3])
    return None


def _text(value: Json, limit: int) -> str:
    if type(value) is not str:
        return ""
    return value[:limit].encode("utf-8", "backslashreplace").decode("utf-8")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
