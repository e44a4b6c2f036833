"""Attempts of four tokens, written by hand, and the gradient that their streams have."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import torch

from memory.records import Outcome
from training.losses import LossSettings, policy_gradient
from training.sample import TokenSample, TokenStreams

PASSED, FAILED, CRASHED, INVALID = Outcome.PASSED, Outcome.FAILED_TEST, Outcome.RUNTIME_ERROR, Outcome.COMPILE_ERROR
ALL = (True,) * 4
NONE = (False,) * 4


def attempt(number: int, outcome: Outcome, **other: Any) -> TokenSample:
    """An attempt at temperature 1; `other` are fields."""
    made = TokenSample(
        id=f"t/{number}",
        problem_id="p",
        family="f",
        policy_version="base",
        outcome=outcome,
        total=4,
        prompt_ids=(1, 2),
        completion_ids=(3 + number, 4, 5, 6),
        behaviour_logprobs=(-1.0, -1.0, -1.0, -1.0),
        sampled=ALL,
        program=ALL,
        blamed=NONE,
        executed=ALL,
    )
    return replace(made, **other)


def greedy(outcome: Outcome, **other: Any) -> TokenSample:
    """The baseline."""
    return attempt(9, outcome, temperature=0.0, **other)


def reference() -> TokenSample:
    """A solution of the problem."""
    return attempt(8, PASSED, kind="reference", behaviour_logprobs=())


def gradient(sample: TokenSample, streams: TokenStreams, form: Literal["reinforce", "clip"]) -> torch.Tensor:
    """Of the policy-gradient loss, in the logits [token, word] of a model whose vocabulary has 16 words."""
    count = len(sample.completion_ids)
    logits = torch.arange(count * 16.0).reshape(count, 16).sin().requires_grad_()
    logp = logits.log_softmax(-1)[torch.arange(count), torch.tensor(sample.completion_ids)]
    if not streams.pg_weight:
        return torch.zeros_like(logits)
    behaviour = logp.detach()
    loss, _ = policy_gradient(
        logp, behaviour, torch.tensor(streams.advantage), torch.tensor(streams.pg_weight), form, LossSettings()
    )
    (made,) = torch.autograd.grad(loss, logits)
    return made
