"""What one refinement may spend, and the table that says how it is spent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Limits of one refinement."""

    max_candidates: int = 16
    """Programs sampled in all."""
    max_rounds: int = 3
    """Repair rounds after the first sampling."""
    deadline: float
    """Unix time at which the best answer so far is returned."""
    wanted: int = 1
    """Distinct verified programs after which the search ends."""
    repair: bool = True
    """Whether failing programs are shown to the model for repair; otherwise all candidates are fresh samples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One call of the policy."""

    kind: Literal["first", "sample", "repair"]
    candidates: int
    temperature: float | None
    """None: what the client asked for."""


SAMPLE_SHARE = 0.8
"""Share of the candidates after the first that are fresh samples; repair rounds divide the rest. A small model mostly
repeats the program it is shown, so that a fresh sample is worth more than a repair (docs/benchmarks.md)."""
TEMPERATURE = {"first": None, "sample": 0.8, "repair": 0.8}
"""Sampling temperature of each kind of step."""
MIN_P = 0.05
"""Cuts the unlikely tail wherever the temperature is ours. Unlike top_p it needs no sorted vocabulary, which on a CPU
takes longer than the model itself (docs/benchmarks.md)."""


def next_step(budget: Budget, spent: int, rounds: int) -> Step | None:
    """The step after `spent` candidates and `rounds` repair rounds, or None when the budget is used up.

    One answer as the client asked for it comes first, because most problems need no more; then one wide call, because
    an engine makes many candidates at little more than the cost of one; then small repair rounds.
    """
    left = budget.max_candidates - spent
    if left <= 0:
        return None
    if spent == 0:
        return Step(kind="first", candidates=1, temperature=TEMPERATURE["first"])
    wide = left if not _repairs(budget) else max(1, round((budget.max_candidates - 1) * SAMPLE_SHARE))
    if spent <= 1:
        return Step(kind="sample", candidates=min(wide, left), temperature=TEMPERATURE["sample"])
    rounds_left = budget.max_rounds - rounds
    if not _repairs(budget) or rounds_left <= 0:
        return None
    return Step(kind="repair", candidates=-(-left // rounds_left), temperature=TEMPERATURE["repair"])


def _repairs(budget: Budget) -> bool:
    return budget.repair and budget.max_rounds > 0
