"""Group-relative advantages (GRPO, arXiv 2402.03300), the baseline that other algorithms are measured against.

Equations: the advantage of a sample is its reward minus the mean of its group, divided by the group's standard
deviation; the loss is PPO's clipped one plus a divergence from the base model.

Deviations. The deviation is the population's plus 1e-4. Losses are averaged over the tokens of a step, not first within
each sample (DAPO, arXiv 2503.14476). Options: no division (Dr. GRPO, arXiv 2503.20783), `clip_high`, `mask_truncated`
(DAPO). No divergence by default.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import pstdev

from pydantic import Field

from agent.settings import Frozen
from training.credit.reward import baseline, learners, pushed, reward
from training.sample import TokenSample, TokenStreams

_EPSILON = 1e-4


class GRPOSettings(Frozen):
    """Switches of each part."""

    divide: bool = True
    """By the standard deviation of the group."""
    adaptive: bool = False
    """Failed tests are rewarded by the share of tests that pass (RLTF)."""
    kl: float = Field(default=0.0, ge=0)
    """Weight of the divergence; 0 turns it off."""
    clip_low: float = Field(default=0.2, gt=0, lt=1)
    clip_high: float = Field(default=0.2, gt=0)
    """Above `clip_low`, unlikely tokens can gain more: 0.28 in DAPO."""
    mask_truncated: bool = False
    """Answers that were cut off are not learned from; they still count in the mean."""


def streams(group: Sequence[TokenSample], settings: GRPOSettings) -> list[TokenStreams]:
    """One advantage for all tokens of a sample; empty for all where all rewards are equal."""
    mean = baseline(group, "group_mean", adaptive=settings.adaptive)
    rewards = {sample.id: reward(sample, adaptive=settings.adaptive) for sample in learners(group)}
    if mean is None or len(set(rewards.values())) < 2:
        return [TokenStreams() for _ in group]
    scale = pstdev(rewards.values()) + _EPSILON if settings.divide else 1.0
    return [
        pushed(sample, (rewards[sample.id] - mean) / scale, kl=settings.kl)
        if sample.id in rewards and not (settings.mask_truncated and sample.finish_reason == "length")
        else TokenStreams()
        for sample in group
    ]
