"""Some optimiser steps of Burnish's trainer on given tokens, timed (trainer_speed.py starts it)."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from memory.records import Outcome
from training import adapter
from training.adapter import LoraSettings
from training.batch import Example
from training.loop import Learner, OptimiserSettings
from training.losses import LossSettings
from training.objective import StreamObjective
from training.sample import TokenSample, TokenStreams


def main(job: dict[str, Any]) -> None:
    """`job` as trainer_speed.py writes it; prints what was measured as one JSON object."""
    examples = [_example(number, *tokens) for number, tokens in enumerate(job["tokens"])]
    model = adapter.build(Path(job["model"]), LoraSettings(checkpointing=job["checkpointing"]))
    longest = max(len(example.sample.prompt_ids) + len(example.sample.completion_ids) for example in examples)
    objective = StreamObjective("reinforce", LossSettings(), micro_tokens=job["rows"] * longest)
    learner = Learner(model, objective, OptimiserSettings(learning_rate=job["learning_rate"]), len(examples), 0)
    size = job["sequences"]
    losses = []
    began = _clock()
    for step in range(len(examples) // size):
        if step == 1:  # the first one warms up
            began = _clock()
        losses.append(learner.step(examples[step * size : (step + 1) * size], step)["loss"])
    wall, cpu = (now - then for now, then in zip(_clock(), began, strict=True))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"wall_s": wall, "cpu_s": cpu, "peak_mb": usage.ru_maxrss / 1024, "losses": losses}))


def _example(number: int, prompt: list[int], completion: list[int]) -> Example:
    every = (True,) * len(completion)
    sample = TokenSample(
        id=str(number),
        problem_id=str(number),
        family=str(number),
        kind="reference",
        outcome=Outcome.PASSED,
        prompt_ids=tuple(prompt),
        completion_ids=tuple(completion),
        sampled=every,
        program=every,
        blamed=(False,) * len(completion),
        executed=every,
    )
    return Example(sample, TokenStreams(ce_weight=(1.0,) * len(completion)))


def _clock() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
