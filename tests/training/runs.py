"""A small run over random samples, put together as the command line does it; in this process or in others.

    python -m tests.training.runs FOLDER BASE STEPS

trains until step STEPS, or goes on with what is in FOLDER; under torchrun as several ranks.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from tests.training.examples import mixed
from training.adapter import LoraSettings
from training.batch import Example
from training.loop import OptimiserSettings
from training.losses import LossSettings
from training.objective import Counts, StreamObjective
from training.plan import Shuffled
from training.ranks import group
from training.run import Run, carry_out
from training.settings import BatchSettings, RunSettings, TrainSettings

SETTINGS = TrainSettings(
    lora=LoraSettings(rank=4, alpha=8),
    optimiser=OptimiserSettings(learning_rate=5e-3, warmup_steps=1, epsilon=1e-4),  # AdamW magnifies rounding below it
    batch=BatchSettings(sequences=6, micro_tokens=64),
    run=RunSettings(save_every=2, threads=1),
)


def small(
    folder: Path,
    base: Path,
    *,
    steps: int = 4,
    settings: TrainSettings = SETTINGS,
    examples: Sequence[Example] | None = None,
    held_out: Sequence[Example] = (),
    data: str = "sha256:data",
) -> Run[Example, Counts]:
    """A run over two dozen samples of both kinds, or over `examples`."""
    return Run(
        folder=folder,
        kind="policy",
        base=base,
        settings=settings,
        steps=steps,
        plan=Shuffled(mixed(24) if examples is None else examples, settings.batch.sequences, seed=settings.run.seed),
        objective=StreamObjective("reinforce", LossSettings(), micro_tokens=settings.batch.micro_tokens),
        held_out=held_out,
        data=data,
    )


if __name__ == "__main__":
    with group():
        carry_out(small(Path(sys.argv[1]), Path(sys.argv[2]), steps=int(sys.argv[3])))
