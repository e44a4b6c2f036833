"""The gate: whether a version may go live, from answers to held-out problems by it and by the live version.

Not worse with 95 % confidence: the lower limit of the paired difference is above minus the tolerance. Better: the
estimate reaches the margin. Limits are computed from the single results (agent/statistics.py), not taken from the
report.
"""

from __future__ import annotations

from dataclasses import dataclass

from agent.evaluation import GateReport
from agent.statistics import Interval
from server.adapters.settings import AdapterSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the gate says."""

    promote: bool
    reason: str
    difference: Interval
    problems: int
    against: str
    """The version it was compared with."""


def decide(report: GateReport, settings: AdapterSettings) -> Decision:
    """Judge a report. Raises ValueError if it has no results."""
    difference, told, count = report.difference, report.summary(), len(report.results)
    promote = False
    if count < settings.gate_problems:
        reason = f"{told}; that are too few: at least {settings.gate_problems} problems are needed"
    elif difference.low < -settings.gate_tolerance:
        reason = f"{told}; it may be worse by more than {100 * settings.gate_tolerance:g} points"
    elif difference.estimate < settings.gate_margin:
        reason = f"{told}; it is not better by {100 * settings.gate_margin:g} points"
    else:
        promote, reason = True, told
    return Decision(promote=promote, reason=reason, difference=difference, problems=count, against=report.against)
