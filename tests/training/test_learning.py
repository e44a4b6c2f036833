"""Every algorithm makes a tiny model do what is rewarded; the curve is kept as a property of the test's report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import peft
import pytest
import torch

from memory.records import Outcome
from tests.training import tiny
from tests.training.examples import sample
from training import adapter
from training.adapter import LoraSettings
from training.algorithms import ALGORITHMS, algorithm
from training.batch import Example
from training.loop import Learner, OptimiserSettings
from training.objective import StreamObjective
from training.sample import TokenSample

PROMPT = (40, 41, 42, 43)
LENGTH = 3
STEPS = {"rft": 240}
GOOD = tiny.VOCABULARY // 2
"""An attempt passes if its first token is below this."""


def attempts(model: peft.PeftModel, count: int, seed: int) -> list[TokenSample]:
    """`count` attempts at temperature 1 and the greedy one; those that fail are blamed on their first token."""
    torch.manual_seed(seed)
    ids, said = torch.tensor([PROMPT] * (count + 1)), []
    with torch.no_grad():
        for _ in range(LENGTH):
            logp = (adapter.hidden(model, ids)[:, -1] @ adapter.head(model).T).log_softmax(-1)
            chosen = torch.cat([logp[:count].exp().multinomial(1), logp[count:].argmax(-1, keepdim=True)])
            said.append(logp.gather(1, chosen))
            ids = torch.cat([ids, chosen], 1)
    made = []
    rows = zip(ids[:, len(PROMPT) :].tolist(), torch.cat(said, 1).tolist(), strict=True)
    for number, (tokens, logprobs) in enumerate(rows):
        good = tokens[0] < GOOD
        one = replace(
            sample(number, completion=LENGTH, outcome=Outcome.PASSED if good else Outcome.FAILED_TEST),
            problem_id="p",
            prompt_ids=PROMPT,
            completion_ids=tuple(tokens),
            behaviour_logprobs=tuple(logprobs),
            temperature=float(number < count),
            blamed=(not good, False, False),
        )
        made.append(one)
    return made


def rewarded(model: peft.PeftModel) -> float:
    """Probability that an attempt passes."""
    with torch.no_grad():
        states = adapter.hidden(model, torch.tensor([PROMPT]))[:, -1]
        return float((states @ adapter.head(model).T).softmax(-1)[0, :GOOD].sum())


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_an_algorithm_learns_what_is_rewarded(
    name: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    torch.set_num_threads(1)
    chosen = algorithm(name, {"cross_entropy": False} if name in ("coderl", "rltf") else {})
    steps = STEPS.get(name, 140)
    model = adapter.build(tiny.model(tmp_path / "base"), LoraSettings(rank=8, alpha=16))
    objective = StreamObjective(chosen.form, chosen.losses, micro_tokens=2048)
    learner = Learner(model, objective, OptimiserSettings(learning_rate=3e-3), steps, 0)
    solution = replace(
        sample(99, completion=LENGTH),
        kind="reference",
        prompt_ids=PROMPT,
        completion_ids=(7, 8, 9),
        behaviour_logprobs=(),
    )
    curve = [rewarded(model)]
    for step in range(steps):
        group = [solution] if name == "sft" else attempts(model, 16, step)
        learner.step(list(map(Example, group, chosen.streams(group))), step)
        curve.append(rewarded(model))
    record_property("curve", [round(value, 3) for value in curve])
    last = curve[-20:]
    assert sum(last) / len(last) > 0.85 > 0.5 > curve[0], curve
