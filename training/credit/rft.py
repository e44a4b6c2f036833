"""Rejection sampling: the policy imitates its own passing programs (RFT, arXiv 2308.01825).

Equation: the loss is minus the mean log-probability of the tokens of distinct samples that passed.

Deviations. Two programs are equal if their tokens are: the paper compares equation lists, which programs lack. At most
`per_problem` of a group are taken, the first ones, so that easy problems do not crowd out the others.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from agent.settings import Frozen
from training.credit.reward import imitated, judged
from training.sample import OutcomeClass, TokenSample, TokenStreams


class RftSettings(Frozen):
    """Which passing programs are imitated."""

    per_problem: int = Field(default=4, ge=1)
    """Distinct programs of one problem, prompt and policy version."""


def streams(group: Sequence[TokenSample], settings: RftSettings) -> list[TokenStreams]:
    """Cross-entropy on the first distinct programs that passed, greedy ones included."""
    seen: set[tuple[int, ...]] = set()
    made = []
    for sample in group:
        good = judged(sample) and sample.outcome_class is OutcomeClass.PASSED and len(seen) < settings.per_problem
        program = _program(sample)
        made.append(imitated(sample) if good and program not in seen else TokenStreams())
        if good:
            seen.add(program)
    return made


def _program(sample: TokenSample) -> tuple[int, ...]:
    return tuple(number for number, inside in zip(sample.completion_ids, sample.program, strict=True) if inside)
