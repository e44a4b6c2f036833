"""Losses of a step's weighted tokens, as sums: whoever calls divides by counts of the whole step.

    REINFORCE     -min(rho, c) * A * log p        rho = exp(log p - behaviour), without gradient
    PPO clip      -min(r * A, clip(r, 1 - eps_low, 1 + eps_high) * A)        r = exp(log p - behaviour)
    cross-entropy -log p
    divergence    exp(ref - log p) - (ref - log p) - 1

Sources: PPO (arXiv 1707.06347), the estimator of the divergence from GRPO (arXiv 2402.03300), the capped importance
weight from IMPALA (arXiv 1802.01561), here per token.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from agent.settings import Frozen


class LossSettings(Frozen):
    """Bounds of what one token can do."""

    rho_cap: float = Field(default=2.0, gt=0)
    """c, the largest importance weight (REINFORCE)."""
    clip_low: float = Field(default=0.2, gt=0, lt=1)
    """eps_low (PPO)."""
    clip_high: float = Field(default=0.2, gt=0)
    """eps_high (PPO)."""


def policy_gradient(
    logp: Tensor,
    behaviour: Tensor,
    advantage: Tensor,
    weight: Tensor,
    form: Literal["reinforce", "clip"],
    settings: LossSettings,
) -> tuple[Tensor, dict[str, float]]:
    """Sum of weight * pg over tokens. Logged, also as weighted sums: `rho` (or r), `clipped` (tokens at a bound) and
    `drift` (divergence of the policy from the one that sampled)."""
    distance = logp - behaviour
    ratio = distance.exp()
    if form == "reinforce":
        clipped = ratio > settings.rho_cap
        pg = -ratio.detach().clamp(max=settings.rho_cap) * advantage * logp
    else:
        bounded = ratio.clamp(1 - settings.clip_low, 1 + settings.clip_high)
        clipped = bounded * advantage < ratio * advantage
        pg = -torch.minimum(ratio * advantage, bounded * advantage)
    chosen = weight != 0
    size = weight.abs()[chosen]
    logged = {
        "rho": float((size * ratio.detach()[chosen]).sum()),
        "clipped": float((size * clipped[chosen]).sum()),
        "drift": float((size * _k3(distance.detach()[chosen].neg())).sum()),
    }
    return (weight[chosen] * pg[chosen]).sum(), logged


def cross_entropy(logp: Tensor, weight: Tensor) -> tuple[Tensor, dict[str, float]]:
    """Sum of weight * -log p."""
    return -(weight * logp).sum(), {}


def divergence(logp: Tensor, reference: Tensor, weight: Tensor) -> tuple[Tensor, dict[str, float]]:
    """Sum of weight * KL estimate from the reference model; never negative."""
    return (weight * _k3(reference.detach() - logp)).sum(), {}


def _k3(distance: Tensor) -> Tensor:
    return distance.exp() - distance - 1
