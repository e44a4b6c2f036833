"""RLTF (arXiv 2307.04349): reinforcement learning from unit test feedback of several granularities.

Equations in reading order: the loss is the sum of supervised, coarse, fine and adaptive parts; coarse: the reward of
the outcome on the whole program; fine: -0.3 on the tokens that the error is blamed on, scaled by T / n_span so that a
short span weighs as much as a program; adaptive: a failed test earns -0.3 + 1.3 * passed / total.

    A_t = q_t * (R_adaptive - b - w * alpha * m_t)

Deviations. alpha lives, capped; spans come from exception classes and positions (training/spans.py); q_t is 1 without a
critic; the baseline is the greedy sample of the same policy version; stale samples have a clipped importance weight.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from agent.settings import Frozen
from training.credit.reward import Baseline, baseline, imitated, learners, pushed, reward
from training.sample import TokenSample, TokenStreams


class RLTFSettings(Frozen):
    """Switches of each part."""

    coarse: bool = True
    """Reward of the whole program above its baseline."""
    adaptive: bool = True
    """Failed tests are rewarded by the share of tests that pass."""
    quality: bool = False
    """Passing programs have their quality bonus (FALCON's composite reward)."""
    cross_entropy: bool = True
    """Learn from reference solutions, half of each step."""
    baseline: Baseline = "greedy"
    critic: bool = True
    """Weigh by q_t where samples have it."""
    normalise_q: bool = False
    fine_weight: float = Field(default=0.3, ge=0)
    """w, the penalty of a blamed token; 0 turns the fine part off."""
    fine_cap: float = Field(default=8.0, gt=0)
    """Largest alpha."""


def streams(group: Sequence[TokenSample], settings: RLTFSettings) -> list[TokenStreams]:
    """Coarse, adaptive and fine part on sampled programs, cross-entropy on references."""
    base = baseline(group, settings.baseline, adaptive=settings.adaptive, quality=settings.quality)
    own = {sample.id for sample in learners(group)}
    made = []
    for sample in group:
        if sample.kind == "reference" and settings.cross_entropy:
            made.append(imitated(sample))
        elif sample.id in own and base is not None:
            total = reward(sample, adaptive=settings.adaptive, quality=settings.quality)
            made.append(
                pushed(
                    sample,
                    total - base if settings.coarse else 0.0,
                    critic=settings.critic,
                    normalise=settings.normalise_q,
                    fine=settings.fine_weight,
                    cap=settings.fine_cap,
                )
            )
        else:
            made.append(TokenStreams())
    return made
