"""How the end of a process is told."""

from __future__ import annotations

import pytest

from agent.sandbox.process import Exit
from agent.sandbox.verdict import of_exit, of_fault, spans
from memory.records import Limits, Outcome


@pytest.mark.parametrize(
    ("reason", "cpu", "told"),
    [
        ("test_wall", 0.01, "waited too long without computing"),
        ("wall", 0.9, "waited too long without computing"),
        ("test_wall", 3.0, "still computing when the wall clock ran out, after 3.00 s of CPU"),
        ("wall", 9.0, "still computing when the wall clock ran out, after 9.00 s of CPU"),
        ("test_cpu", 4.1, "CPU limit of 4 s per test exceeded"),
        ("cpu", 10.1, "CPU limit of 10 s per run exceeded"),
    ],
)
def test_what_a_clock_says(reason: str, cpu: float, told: str) -> None:
    ended = Exit(status=-9, cpu=cpu, peak_mb=1.0, reason=reason)
    outcome, fault = of_exit(ended, Limits(), overflow=False, line=3)
    assert (outcome, fault.line) == (Outcome.TIMEOUT, 3)
    assert fault.message.startswith(told)


def test_places_that_are_none() -> None:
    assert spans([[1, 0, 1, 5], [2, 0, 2, 5]]) == ((1, 0, 1, 5), (2, 0, 2, 5))
    for wire in (None, 5, "text", [[1, 0, 1]], [[1, 0, 1, -5]], [[1, 0, 1, True]], [[1, 0, 1, 5], None]):
        assert spans(wire) == ()


def test_variables_are_read_as_untrusted_text() -> None:
    told = {"type": "E", "variables": [["a", "1"], ["b"], 5, ["c" * 999, 7], ["d", "\ud800"]]}
    _, fault = of_fault(told)
    assert fault.variables[0] == ("a", "1")
    assert len(fault.variables) == 3
    assert fault.variables[1] == ("c" * 120, "")
    fault.variables[2][1].encode()
