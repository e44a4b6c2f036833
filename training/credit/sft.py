"""Warm start: the policy imitates reference solutions (CodeRL, arXiv 2207.01780, stage a).

Equation: the loss is minus the mean log-probability of the reference solution's tokens. No deviation: sampled programs
are left out.
"""

from __future__ import annotations

from collections.abc import Sequence

from agent.settings import Frozen
from training.credit.reward import imitated
from training.sample import TokenSample, TokenStreams


class SftSettings(Frozen):
    """Nothing can be set."""


def streams(group: Sequence[TokenSample], settings: SftSettings) -> list[TokenStreams]:
    """Cross-entropy on references."""
    return [imitated(sample) if sample.kind == "reference" else TokenStreams() for sample in group]
