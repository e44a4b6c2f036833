"""Checkpoints of a run: everything that the next step depends on, whole or absent.

    checkpoints/000120/adapter/         in peft's format, the adapter's tensors only
    checkpoints/000120/optimizer.pt     scheduler.pt, rng.pt (python, numpy, torch and every device, for each rank)
    checkpoints/000120/progress.json    step, cursor of the data, what was spent, what the run belongs to
    checkpoints/000120/COMPLETE         a digest of every file, written last
    checkpoints/.000120.xxxx            being written, or left by a process that died; removed at the next start
    LATEST                              name of the newest one, replaced atomically

A checkpoint is made under another name, flushed and renamed. The last two and the best one are kept.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import peft
import torch

from agent.adapters import replace_text
from training import adapter
from training.errors import CheckpointError
from training.plan import Plan
from training.ranks import gathered, rank, ranks, wait

FOLDER, ADAPTER = "checkpoints", "adapter"
"""Of a run's folder: RUN/checkpoints/000120/adapter."""
_LATEST, _COMPLETE, _PROGRESS = "LATEST", "COMPLETE", "progress.json"
_KEPT = 2


@dataclass(slots=True, kw_only=True)
class State:
    """How far a run is."""

    step: int = 0
    """Optimiser steps, skipped ones included."""
    tokens: int = 0
    """Tokens that were learned from, prompts included."""
    skipped: int = 0
    """Steps that could not be taken."""
    skipped_in_a_row: int = 0
    best: str = ""
    """Name of the checkpoint with the lowest score; empty: none has one."""
    best_score: float | None = None


class Moving(Protocol):
    """What a checkpoint holds beside `State` and the plan."""

    model: peft.PeftModel
    optimiser: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A whole one."""

    folder: Path

    @property
    def adapter(self) -> Path:
        """The adapter's folder, for `adapter.build`."""
        return self.folder / ADAPTER

    @property
    def step(self) -> int:
        """Optimiser steps done."""
        return int(self.folder.name)

    def restore(self, moving: Moving, plan: Plan[Any]) -> State:
        """Bring everything but the model, which `adapter.build` made from `adapter`, to where it was."""
        progress = json.loads((self.folder / _PROGRESS).read_text())
        moving.optimiser.load_state_dict(_load(self.folder / "optimizer.pt"))
        moving.scheduler.load_state_dict(_load(self.folder / "scheduler.pt"))
        plan.restore(progress["plan"])
        states = _load(self.folder / "rng.pt")
        if len(states) == ranks():  # another number of processes draws other numbers
            _set_random(states[rank()])
        return State(**progress["state"])


class Checkpoints:
    """The checkpoints of one run folder."""

    def __init__(self, run: Path, belongs: Mapping[str, str], base_name: str) -> None:
        """`belongs`: what must be the same for a run to go on, e.g. {"base model": "sha256:…"}. `base_name` is written
        into the adapters."""
        self._run = run
        self._belongs = dict(belongs)
        self._base_name = base_name

    def newest(self) -> Checkpoint | None:
        """The newest whole checkpoint, or None before there is one. Removes what a killed process left.

        Raises CheckpointError if it belongs to something else, or if a file is not what was written."""
        folder = self._run / FOLDER
        if rank() == 0:
            for left in folder.iterdir() if folder.is_dir() else ():
                if not (left.name.isdigit() and (left / _COMPLETE).is_file()):
                    shutil.rmtree(left, ignore_errors=True)
        wait()
        found = self._whole()
        if not found:
            return None
        checkpoint = Checkpoint(found[-1])
        self._check(checkpoint)
        return checkpoint

    def best(self) -> Checkpoint | None:
        """The one with the lowest score; the newest where none has a score."""
        newest = self.newest()
        if newest is None:
            return None
        state = json.loads((newest.folder / _PROGRESS).read_text())["state"]
        chosen = Checkpoint(self._run / FOLDER / state["best"]) if state["best"] else newest
        self._check(chosen)
        return chosen

    def save(self, moving: Moving, plan: Plan[Any], state: State, score: float | None = None) -> Checkpoint:
        """Write one; the lower the score, the better. Raises CheckpointError if the disk does not take it: then the
        previous one is untouched."""
        name = f"{state.step:06d}"
        if score is not None and (state.best_score is None or score < state.best_score):
            state.best, state.best_score = name, score
        randoms = gathered(_random())
        if rank() == 0:
            try:
                self._write(name, moving, plan, state, randoms)
            except OSError as error:
                whole = self._whole()
                before = f"{whole[-1]} is the newest one" if whole else "there is none before it"
                raise CheckpointError(
                    f"the checkpoint of step {state.step} cannot be written ({error}); {before}. Make room on the disk "
                    "and start the same command again: it goes on from there"
                ) from error
        wait()
        return Checkpoint(self._run / FOLDER / name)

    def _write(self, name: str, moving: Moving, plan: Plan[Any], state: State, randoms: list[Any]) -> None:
        folder = self._run / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=folder))
        try:
            adapter.save(moving.model, making / ADAPTER, self._base_name)
            _save(moving.optimiser.state_dict(), making / "optimizer.pt")
            _save(moving.scheduler.state_dict(), making / "scheduler.pt")
            _save(randoms, making / "rng.pt")
            progress = {"state": asdict(state), "plan": plan.state(), "belongs": self._belongs}
            (making / _PROGRESS).write_text(json.dumps(progress, indent=1) + "\n")
            digests = {str(file.relative_to(making)): _digest(file) for file in _files(making)}
            for path in (*_files(making), making / ADAPTER):
                _flush(path)
            (making / _COMPLETE).write_text(json.dumps(digests, indent=1) + "\n")
            _flush(making / _COMPLETE)
            _flush(making)
            making.chmod(0o755)
            shutil.rmtree(folder / name, ignore_errors=True)
            making.rename(folder / name)
            _flush(folder)
            replace_text(self._run / _LATEST, name + "\n")
        except OSError:
            shutil.rmtree(making, ignore_errors=True)
            raise
        for old in self._whole()[:-_KEPT]:
            if old.name != state.best:
                shutil.rmtree(old, ignore_errors=True)

    def _whole(self) -> list[Path]:
        """Whole checkpoints, the newest last. LATEST is for readers: a process that dies between the two renames leaves
        it one behind."""
        folder = self._run / FOLDER
        found = folder.iterdir() if folder.is_dir() else ()
        return sorted(path for path in found if path.name.isdigit() and (path / _COMPLETE).is_file())

    def _check(self, checkpoint: Checkpoint) -> None:
        folder = checkpoint.folder
        try:
            digests: dict[str, str] = json.loads((folder / _COMPLETE).read_text())
            for name, digest in digests.items():
                if (found := _digest(folder / name)) != digest:
                    raise CheckpointError(
                        f"{folder / name} has digest {found}, but {digest} was written; remove {folder}, and the run "
                        "goes on from the one before"
                    )
            belongs: dict[str, str] = json.loads((folder / _PROGRESS).read_text())["belongs"]
        except (OSError, ValueError, KeyError) as error:
            raise CheckpointError(
                f"{folder} cannot be read ({error}); remove it, and the run goes on from the one before"
            ) from error
        for what in {**belongs, **self._belongs}:
            before, now = belongs.get(what, "nothing"), self._belongs.get(what, "nothing")
            if before != now:
                raise CheckpointError(
                    f"{self._run} was begun with another {what}: {before}, now it is {now}; give what it was begun "
                    "with, or another run folder"
                )


def _random() -> dict[str, Any]:
    kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, gauss),
        "torch": torch.get_rng_state(),
        "devices": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def _set_random(state: Mapping[str, Any]) -> None:
    version, keys, gauss = state["python"]
    random.setstate((version, tuple(keys), gauss))
    kind, words, *rest = state["numpy"]
    np.random.set_state((kind, words.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if state["devices"]:
        torch.cuda.set_rng_state_all(state["devices"])


def _save(value: Any, file: Path) -> None:
    """As `torch.save`, whose own writer does not say that the disk is full."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    file.write_bytes(buffer.getbuffer())


def _load(file: Path) -> Any:
    return torch.load(file, map_location="cpu", weights_only=True)


def _files(folder: Path) -> Iterator[Path]:
    yield from sorted(path for path in folder.rglob("*") if path.is_file())


def _digest(file: Path) -> str:
    with file.open("rb") as data:
        return f"sha256:{hashlib.file_digest(data, 'sha256').hexdigest()}"


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
