"""Examples of one optimiser step as tensors: micro-batches under a budget of tokens, padded on the right.

Only what can have an effect is in them: a sequence ends before its last weighted token (causal attention: what comes
later changes nothing before it), and its wanted tokens are those with a weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from training.errors import BadData
from training.sample import TokenSample, TokenStreams


class Example(NamedTuple):
    """A sample, and what is to be learned from it."""

    sample: TokenSample
    streams: TokenStreams


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One micro-batch: B sequences of at most T tokens, N wanted tokens. The wanted tokens' tensors have length N."""

    input_ids: Tensor
    """int64 [B, T], padded on the right."""
    positions: Tensor
    """int64: index into the B·T states of the one that predicts the token, which is the one before it."""
    targets: Tensor
    """int64: the token."""
    behaviour: Tensor
    """float32: log-probability when it was sampled; 0 where there is none, and then no policy gradient."""
    advantage: Tensor
    """float32, and so are the weights."""
    pg_weight: Tensor
    ce_weight: Tensor
    kl_weight: Tensor
    tokens: int
    """Tokens that are not padding."""


def micro_batches(examples: Sequence[Example], budget: int) -> list[list[Example]]:
    """Long ones first, as many together as keep B·T within `budget` tokens; a longer one stands alone."""
    by_length = sorted(examples, key=lambda example: (-_end(example), example.sample.id))
    made: list[list[Example]] = []
    for example in by_length:
        if made and (len(made[-1]) + 1) * _end(made[-1][0]) <= budget:
            made[-1].append(example)
        else:
            made.append([example])
    return made


def collate(examples: Sequence[Example], device: torch.device | str = "cpu") -> Batch:
    """One micro-batch. Raises BadData where a sampled token has a policy gradient and no log-probability."""
    width = max(_end(example) for example in examples)
    ids = torch.zeros(len(examples), width, dtype=torch.int64)
    columns: dict[str, list[float]] = {name: [] for name in ("behaviour", "advantage", "pg", "ce", "kl")}
    positions: list[int] = []
    targets: list[int] = []
    for row, example in enumerate(examples):
        sample, streams = example
        end = _end(example)
        ids[row, :end] = torch.tensor((sample.prompt_ids + sample.completion_ids)[:end])
        for at in _wanted(example):
            positions.append(row * width + len(sample.prompt_ids) + at - 1)
            targets.append(sample.completion_ids[at])
            pushed = _at(streams.pg_weight, at)
            if pushed and not sample.behaviour_logprobs:
                raise BadData(f"{sample.id} has no log-probabilities, so it cannot have a policy gradient")
            columns["behaviour"].append(_at(sample.behaviour_logprobs, at))
            columns["advantage"].append(_at(streams.advantage, at))
            columns["pg"].append(pushed)
            columns["ce"].append(_at(streams.ce_weight, at))
            columns["kl"].append(_at(streams.kl_weight, at))
    made = {name: torch.tensor(values, dtype=torch.float32, device=device) for name, values in columns.items()}
    return Batch(
        input_ids=ids.to(device),
        positions=torch.tensor(positions, device=device),
        targets=torch.tensor(targets, device=device),
        behaviour=made["behaviour"],
        advantage=made["advantage"],
        pg_weight=made["pg"],
        ce_weight=made["ce"],
        kl_weight=made["kl"],
        tokens=sum(_end(example) for example in examples),
    )


def _wanted(example: Example) -> list[int]:
    """Indices of the completion's tokens that have a weight."""
    streams = example.streams
    return [
        at
        for at in range(len(example.sample.completion_ids))
        if _at(streams.pg_weight, at) or _at(streams.ce_weight, at) or _at(streams.kl_weight, at)
    ]


def _end(example: Example) -> int:
    """Tokens of the sequence that are put in: the last wanted one is only predicted."""
    return len(example.sample.prompt_ids) + max(_wanted(example), default=0)


def _at(values: Sequence[float], at: int) -> float:
    return values[at] if values else 0.0
