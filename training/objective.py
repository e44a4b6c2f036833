"""What is learned from samples: policy gradient, cross-entropy and divergence from the base model, from their streams.

    loss = sum of pg_weight * pg / N_pg  +  sum of ce_weight * ce / N_ce  +  sum of kl_weight * kl / N_kl

Each N is the number of tokens with a weight in its stream, over the whole optimiser step, all micro-batches and ranks.
It is no sum of weights: a stream whose weights are all 0.05 has a twentieth of the effect (StepCoder's divergence).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import peft
import torch
from torch import Tensor

from training import adapter, losses
from training.batch import Example, collate, micro_batches


@dataclass(frozen=True, slots=True)
class Counts:
    """Tokens with a weight in an optimiser step."""

    pg: int
    ce: int
    kl: int


class StreamObjective:
    """`Objective` of samples with streams."""

    def __init__(
        self,
        form: Literal["reinforce", "clip"],
        settings: losses.LossSettings,
        *,
        micro_tokens: int,
        device: torch.device | str = "cpu",
    ) -> None:
        """`form` of the policy gradient; `micro_tokens`: largest micro-batch, padding included."""
        self._form = form
        self._settings = settings
        self._micro_tokens = micro_tokens
        self._device = device

    def count(self, examples: Sequence[Example]) -> Counts | None:
        """See Objective.count."""
        if all(streams.empty for _, streams in examples):
            return None
        return Counts(
            pg=sum(weight != 0 for _, streams in examples for weight in streams.pg_weight),
            ce=sum(weight != 0 for _, streams in examples for weight in streams.ce_weight),
            kl=sum(weight != 0 for _, streams in examples for weight in streams.kl_weight),
        )

    def split(self, examples: Sequence[Example]) -> list[list[Example]]:
        """See Objective.split."""
        return micro_batches(examples, self._micro_tokens)

    def loss(self, model: peft.PeftModel, part: Sequence[Example], count: Counts) -> tuple[Tensor, Mapping[str, float]]:
        """See Objective.loss."""
        batch = collate(part, self._device)
        logp = adapter.logprobs(model, batch)
        values = {"tokens": float(batch.tokens), "wanted_tokens": float(len(logp))}
        loss = logp.new_zeros(())
        if count.pg:
            pg, logged = losses.policy_gradient(
                logp, batch.behaviour, batch.advantage, batch.pg_weight, self._form, self._settings
            )
            loss = loss + pg / count.pg
            values |= {"pg": float(pg.detach()) / count.pg}
            values |= {name: value / count.pg for name, value in logged.items()}
        if count.ce:
            ce, _ = losses.cross_entropy(logp, batch.ce_weight)
            loss = loss + ce / count.ce
            values |= {"ce": float(ce.detach()) / count.ce}
        if count.kl:
            reference = adapter.logprobs(model, batch, reference=True)
            kl, _ = losses.divergence(logp, reference, batch.kl_weight)
            loss = loss + kl / count.kl
            values |= {"kl": float(kl.detach()) / count.kl}
        return loss, values
