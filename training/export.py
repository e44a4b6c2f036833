"""Kept attempts for other trainers: the samples of both sides of the split as Parquet files."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path

from memory.trajectories import SqlTrajectoryStore
from training.credit.reward import reward
from training.dataset import Dataset, DatasetSettings, read_dataset
from training.parquet import write_samples
from training.tokens import read_vocabulary


async def export(file: Path, base: Path, store: Path | str, settings: DatasetSettings) -> Dataset:
    """Write `file`, and beside it `NAME.held_out.SUFFIX`. Raises BadData if no sample is left, StoreUnavailable."""
    vocabulary = read_vocabulary(base)
    async with aclosing(await SqlTrajectoryStore.open(store)) as opened:
        found = await read_dataset(opened, vocabulary, settings)
    aside = file.with_name(f"{file.stem}.held_out{file.suffix}")
    for name, samples, split in ((file, found.train, "train"), (aside, found.held_out, "test")):
        rewards = [reward(sample, adaptive=True) for sample in samples]
        write_samples(name, samples, vocabulary, found.problems, rewards=rewards, split=split)
    return found
