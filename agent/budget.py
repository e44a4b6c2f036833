"""What one refinement may spend, and the table that says how it is spent."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import ceil
from typing import Literal

Origin = Literal["first", "sample", "refine", "repair"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Limits of one refinement, and the parts of the loop that it may use."""

    max_candidates: int = 16
    """Programs sampled in all."""
    max_rounds: int = 3
    """Refine and repair rounds after the sampling."""
    deadline: float
    """Unix time at which the best answer so far is returned."""
    wanted: int = 1
    """Distinct verified programs after which the search ends."""
    repair: bool
    """Whether failing programs are shown to the model."""
    prefix_seeds: bool
    """Whether the beginnings of passing programs are continued."""
    generated_tests: bool
    """Whether programs are compared by their answers to inputs that the statement does not show."""
    critic: bool
    """Whether the critic is asked."""
    memory: bool
    """Whether experiences are recalled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One row of the table: one call of the policy."""

    kind: Literal["first", "sample", "round"]
    """A round refines if a program passed by then, and repairs if none did."""
    share: float = 0.0
    """Of the candidates after the first; rounds divide theirs."""
    temperature: float | None = None
    """None: what the client asked for."""
    start: Literal["chat", "code"] = "chat"
    """code: the answer is begun for the model, up to where the statement leaves the program unfinished. What it would
    say before is not sampled, and half the tokens buy the same program."""
    recalls: bool = False
    """Whether similar solved tasks stand in the prompt, where memory has any."""


FIRST = Step(kind="first")
SAMPLES = (
    Step(kind="sample", share=0.1, temperature=0.8, recalls=True),
    Step(kind="sample", share=0.3, temperature=0.8, start="code"),
    Step(kind="sample", share=0.2, temperature=1.0),
    Step(kind="sample", share=0.2, temperature=1.0, start="code"),
)
ROUND = Step(kind="round", share=0.2, temperature=0.8, start="code")
"""Most problems need no more than the first answer, as the client asked for it. A few of the others are solved by the
next samples; what is left needs many, which an engine makes at little more than the cost of one, and of different
kinds; then rounds (docs/benchmarks.md: what each is worth)."""
WRITING = Step(kind="sample", temperature=0.0)
"""Tests are asked for once, at the likeliest."""
MIN_P = 0.05
"""Cuts the unlikely tail wherever the temperature is ours. Unlike top_p it needs no sorted vocabulary, which on a CPU
takes longer than the model itself (docs/benchmarks.md)."""
QUORUM = 3
"""Verified programs after which a choice among them is safe, where more are made for that (`prefix_seeds`). One is
enough if it is the first answer."""
UNTESTED_QUORUM = 9
"""Programs to compare where no test can verify any."""


def next_step(budget: Budget, made: int, steps: int, rounds: int) -> tuple[Step, int] | None:
    """The step after `made` candidates in `steps` steps, of which `rounds` were rounds, and its number of candidates.
    None when the budget is used up."""
    left = budget.max_candidates - made
    if left <= 0:
        return None
    if steps == 0:
        return FIRST, 1
    samples = _samples(budget)
    if steps <= len(samples):
        step, count = samples[steps - 1]
        return step, min(count, left)
    if not _has_rounds(budget) or rounds >= budget.max_rounds:
        return None
    return ROUND, min(left, max(1, ceil(left / (budget.max_rounds - rounds))))


def _samples(budget: Budget) -> list[tuple[Step, int]]:
    """The rows for samples that have candidates, with their numbers."""
    spread = budget.max_candidates - 1
    candidates = spread - round(spread * ROUND.share) if _has_rounds(budget) else spread
    shares = list(accumulate(row.share for row in SAMPLES))
    ends = [0, *(round(candidates * share / shares[-1]) for share in shares)]
    rows = [(row, end - start) for row, (start, end) in zip(SAMPLES, pairwise(ends), strict=True)]
    return [(row, count) for row, count in rows if count > 0]


def _has_rounds(budget: Budget) -> bool:
    return budget.max_rounds > 0 and (budget.repair or budget.prefix_seeds)
