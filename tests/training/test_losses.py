"""The losses against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from training.losses import LossSettings, cross_entropy, divergence, policy_gradient

RNG = np.random.default_rng(0)
LOGP, BEHAVIOUR, REFERENCE = (-RNG.uniform(0.1, 3.0, 50) for _ in range(3))
ADVANTAGE = RNG.normal(size=50)
WEIGHT = RNG.choice([0.0, 1.0], 50)
SETTINGS = LossSettings(clip_low=0.2, clip_high=0.3)


def tensor(values: np.ndarray) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_reinforce() -> None:
    logp = tensor(LOGP).requires_grad_()
    loss, logged = policy_gradient(logp, tensor(BEHAVIOUR), tensor(ADVANTAGE), tensor(WEIGHT), "reinforce", SETTINGS)
    rho = np.exp(LOGP - BEHAVIOUR)
    assert (rho > 2).any()
    assert loss.item() == pytest.approx(-(WEIGHT * np.minimum(rho, 2) * ADVANTAGE * LOGP).sum())
    (slope,) = torch.autograd.grad(loss, logp)
    assert slope.numpy() == pytest.approx(-WEIGHT * np.minimum(rho, 2) * ADVANTAGE)
    assert logged["rho"] == pytest.approx((WEIGHT * rho).sum())
    assert logged["clipped"] == (WEIGHT * (rho > 2)).sum()
    back = BEHAVIOUR - LOGP
    assert logged["drift"] == pytest.approx((WEIGHT * (np.exp(back) - back - 1)).sum())


def test_clip() -> None:
    logp = tensor(LOGP).requires_grad_()
    loss, logged = policy_gradient(logp, tensor(BEHAVIOUR), tensor(ADVANTAGE), tensor(WEIGHT), "clip", SETTINGS)
    ratio = np.exp(LOGP - BEHAVIOUR)
    free, bounded = ratio * ADVANTAGE, np.clip(ratio, 0.8, 1.3) * ADVANTAGE
    assert loss.item() == pytest.approx(-(WEIGHT * np.minimum(free, bounded)).sum())
    (slope,) = torch.autograd.grad(loss, logp)
    assert slope.numpy() == pytest.approx(np.where(bounded < free, 0.0, -WEIGHT * free))
    assert logged["clipped"] == (WEIGHT * (bounded < free)).sum() > 0


def test_tokens_without_weight_cannot_spoil_a_loss() -> None:
    given = (torch.tensor([-1.0, 0.0]), torch.tensor([-1.0, -1e4]), torch.tensor([1.0, 1.0]), torch.tensor([1.0, 0.0]))
    assert policy_gradient(*given, "clip", SETTINGS)[0].item() == -1.0


def test_cross_entropy_and_divergence() -> None:
    assert cross_entropy(tensor(LOGP), tensor(WEIGHT))[0].item() == pytest.approx(-(WEIGHT * LOGP).sum())
    gap = REFERENCE - LOGP
    logp = tensor(LOGP).requires_grad_()
    kl, _ = divergence(logp, tensor(REFERENCE), tensor(WEIGHT))
    assert kl.item() == pytest.approx((WEIGHT * (np.exp(gap) - gap - 1)).sum())
    (slope,) = torch.autograd.grad(kl, logp)
    assert slope.numpy() == pytest.approx(WEIGHT * (1 - np.exp(gap)))
    assert divergence(tensor(LOGP), tensor(LOGP), tensor(WEIGHT))[0].item() == 0.0
