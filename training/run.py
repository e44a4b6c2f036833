"""A run folder from its beginning, or from where it stopped, to its end.

    runs/RUN/manifest.json, metrics.jsonl, curves.png, LATEST, checkpoints/ (training/checkpoint.py)

The same call begins a run and goes on with it; what it was begun with cannot change on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from training import adapter, curves, manifest
from training.checkpoint import Checkpoint, Checkpoints
from training.errors import CheckpointError
from training.loop import Fitted, Learner, Line, Objective, fit
from training.metrics import Metrics
from training.plan import Plan
from training.ranks import device, rank, wait
from training.seeds import derived
from training.settings import TrainSettings

E = TypeVar("E")
C = TypeVar("C")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Generic[E, C]):
    """What is trained, on what, into which folder."""

    folder: Path
    kind: str
    """policy or critic."""
    base: Path
    """Folder of the base model, as the engine serves it."""
    base_name: str = ""
    """Path by which the engine knows the base model, where it is not `base`."""
    start: Path | None = None
    """Folder of an adapter to begin with; None is a fresh one."""
    settings: TrainSettings
    steps: int
    plan: Plan[E]
    objective: Objective[E, C]
    held_out: Sequence[E] = ()
    choose_last: bool = False
    """The last checkpoint is published, and not the one with the lowest held-out loss."""
    data: str
    """Digest of the dataset."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Of the data, for the manifest."""


def carry_out(
    run: Run[E, C],
    *,
    tell: Callable[[int, Line], None] = lambda step, line: None,
    stop: Callable[[], bool] = lambda: False,
) -> Fitted:
    """Train until the last step, or until `stop`. Raises TrainingError; the checkpoints before it stay."""
    settings = run.settings
    if settings.run.threads:
        torch.set_num_threads(settings.run.threads)
    digest = manifest.base_digest(run.base)
    checkpoints = _checkpoints(run, digest)
    newest = checkpoints.newest()
    if rank() == 0 and newest is None:
        _begin(run, digest)
    wait()
    model = adapter.build(
        run.base,
        settings.lora,
        resume=newest.adapter if newest else run.start,
        seed=derived(settings.run.seed, "adapter"),
    ).to(device())
    learner = Learner(model, run.objective, settings.optimiser, run.steps, settings.run.seed)
    try:
        return fit(
            learner,
            run.plan,
            checkpoints,
            Metrics(run.folder),
            steps=run.steps,
            save_every=settings.run.save_every,
            resume=newest,
            held_out=run.held_out,
            tell=tell,
            stop=stop,
        )
    finally:
        if rank() == 0:
            with suppress(OSError):  # a full disk has its own message
                curves.draw(run.folder, f"{run.kind}: {settings.algorithm.name}, {run.folder.name}")


def best(run: Run[E, C]) -> Checkpoint | None:
    """The checkpoint to publish: the one with the lowest held-out loss, or the last, where the run says so or nothing
    was held out."""
    checkpoints = _checkpoints(run, manifest.base_digest(run.base))
    return checkpoints.newest() if run.choose_last else checkpoints.best()


def _checkpoints(run: Run[E, C], digest: str) -> Checkpoints:
    belongs = {
        "kind": run.kind,
        "base model": digest,
        "dataset": run.data,
        "first adapter": str(run.start or "a fresh one"),
        "steps": str(run.steps) if run.settings.optimiser.schedule != "constant" else "any",
        **run.settings.belonging(),
    }
    return Checkpoints(run.folder, belongs, run.base_name or str(run.base))


def _begin(run: Run[E, C], digest: str) -> None:
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"{run.folder} cannot be made ({error}); give a folder that can be written") from error
    settings = run.settings
    threads = torch.get_num_threads()
    facts = {"steps": run.steps, **run.facts}
    plain = settings.model_dump(mode="json")
    manifest.write(run.folder, manifest.describe(run.kind, run.base, digest, run.data, plain, facts, threads))
