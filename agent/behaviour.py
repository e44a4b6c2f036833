"""What programs answer to probes, and how far they agree: right programs agree, wrong ones are wrong in many ways
(CodeT, arXiv 2207.10397; S*, arXiv 2502.14382)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import fsum

from memory.records import Outcome, Verdict

Behaviour = tuple[str | None, ...]
"""A program's answers to the probes; None where it gave none."""


def behaviour(verdict: Verdict) -> Behaviour:
    """The answers that a run of probes brought."""
    return tuple(case.actual if case.outcome is Outcome.PASSED else None for case in verdict.cases)


def agreement(behaviours: Sequence[Behaviour], votes: Sequence[int]) -> list[float]:
    """For each behaviour the mean share, over the probes, of the votes for the answer it gives; from 0 to 1.

    `votes` says how many programs behave so. Crashing together is no agreement.
    """
    total = sum(votes)
    if not behaviours or not total:
        return [0.0] * len(behaviours)
    asked = max(map(len, behaviours))
    shares: list[list[float]] = [[] for _ in behaviours]
    for probe in range(asked):
        answers = [given[probe] if probe < len(given) else None for given in behaviours]
        counted: Counter[str | None] = Counter()
        for answer, weight in zip(answers, votes, strict=True):
            counted[answer] += weight
        for place, answer in enumerate(answers):
            shares[place].append(0.0 if answer is None else counted[answer] / total)
    return [fsum(share) / asked if asked else 0.0 for share in shares]
