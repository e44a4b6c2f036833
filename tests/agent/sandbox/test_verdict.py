"""How the end of a process is told."""

from __future__ import annotations

import pytest

from agent.sandbox.process import Exit
from agent.sandbox.verdict import of_exit
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
