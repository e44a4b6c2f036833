"""StepCoder (arXiv 2402.01391), fine-grained optimisation: only executed code is optimised.

Equation: the clipped policy gradient of a token is multiplied by 1 if its code ran in some test, else by 0, with a
divergence per token from the model that training began with. The curriculum is in training/curriculum.py.

Deviations. The advantage is the reward above the mean of the group; there is no value head. The reference of the
divergence is the base model, adapter off. Coverage is the union over all tests.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from agent.settings import Frozen
from training.credit.reward import baseline, learners, pushed, reward
from training.sample import TokenSample, TokenStreams


class StepCoderSettings(Frozen):
    """Switches of each part."""

    executed_only: bool = True
    """M_t; off: plain PPO with a group mean."""
    adaptive: bool = False
    """Failed tests are rewarded by the share of tests that pass (RLTF)."""
    kl: float = Field(default=0.05, ge=0)
    """Weight of the divergence; 0 turns it off."""
    clip: float = Field(default=0.2, gt=0)
    """How far a token's probability ratio counts from 1."""


def streams(group: Sequence[TokenSample], settings: StepCoderSettings) -> list[TokenStreams]:
    """M_t * (R - mean of the group); empty for all where all rewards are equal."""
    mean = baseline(group, "group_mean", adaptive=settings.adaptive)
    own = learners(group)
    rewards = {sample.id: reward(sample, adaptive=settings.adaptive) for sample in own}
    if mean is None or len(set(rewards.values())) < 2:
        return [TokenStreams() for _ in group]
    return [
        pushed(sample, rewards[sample.id] - mean, executed=settings.executed_only, kl=settings.kl)
        if sample.id in rewards
        else TokenStreams()
        for sample in group
    ]
