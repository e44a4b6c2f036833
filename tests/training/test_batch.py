"""Micro-batches: their size, their order, and which tokens are in them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.training.examples import imitated, mixed, rewarded
from training.batch import Example, collate, micro_batches
from training.errors import BadData
from training.sample import TokenStreams


def test_every_example_is_in_one_micro_batch_within_the_budget() -> None:
    examples = mixed(40)
    parts = micro_batches(examples, 60)
    assert sorted(example.sample.id for part in parts for example in part) == sorted(e.sample.id for e in examples)
    sizes = [tuple(collate(part).input_ids.shape) for part in parts]
    assert all(rows * width <= 60 for rows, width in sizes)
    assert len(parts) < 40
    assert micro_batches(list(reversed(examples)), 60) == parts


def test_an_example_beyond_the_budget_stands_alone() -> None:
    parts = micro_batches([imitated(0, completion=50), imitated(1), imitated(2)], 30)
    assert [[example.sample.id for example in part] for part in parts] == [["t0/0"], ["t1/0", "t2/0"]]


def test_each_wanted_token_is_predicted_by_the_state_before_it() -> None:
    examples = mixed(5)
    batch = collate(examples)
    width = batch.input_ids.shape[1]
    at = 0
    for row, (sample, _) in enumerate(examples):
        ids = sample.prompt_ids + sample.completion_ids
        for place in range(len(sample.completion_ids)):
            where = int(batch.positions[at])
            assert divmod(where, width) == (row, len(sample.prompt_ids) + place - 1)
            assert batch.input_ids.flatten()[where] == ids[len(sample.prompt_ids) + place - 1]
            assert batch.targets[at] == sample.completion_ids[place]
            at += 1
    assert at == len(batch.targets) == len(batch.advantage) == len(batch.kl_weight)


def test_tokens_without_weight_are_not_wanted_and_the_end_is_cut() -> None:
    sample = rewarded(0, completion=6).sample
    streams = TokenStreams(
        advantage=(0.5, -1.0, 2.0, 0.0, 1.0, 1.0),
        pg_weight=(0.0, 1.0, 0.5, 0.0, 0.0, 0.0),
        ce_weight=(0.0, 0.0, 0.0, 0.25, 0.0, 0.0),
    )
    batch = collate([Example(sample, streams)])
    assert batch.targets.tolist() == list(sample.completion_ids[1:4])
    assert batch.advantage.tolist() == [-1.0, 2.0, 0.0]
    assert batch.pg_weight.tolist() == [1.0, 0.5, 0.0]
    assert batch.ce_weight.tolist() == [0.0, 0.0, 0.25]
    assert batch.kl_weight.tolist() == [0.0, 0.0, 0.0]
    assert torch.allclose(batch.behaviour, torch.tensor(sample.behaviour_logprobs[1:4]))
    assert batch.input_ids.tolist() == [list(sample.prompt_ids + sample.completion_ids)[: len(sample.prompt_ids) + 3]]
    assert batch.tokens == len(sample.prompt_ids) + 3


def test_a_policy_gradient_needs_log_probabilities() -> None:
    sample, streams = rewarded(0)
    with pytest.raises(BadData, match=r"t0/0 has no log-probabilities"):
        collate([Example(replace(sample, behaviour_logprobs=()), streams)])
    reference = replace(imitated(0).sample, behaviour_logprobs=())
    assert collate([Example(reference, imitated(0).streams)]).behaviour.tolist() == [0.0] * 8
