"""A run that trains the critic on kept attempts, how good it is on problems that it never saw, and its calibration."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from agent.adapters import replace_text
from agent.calibration import Calibration
from memory.experience import Selection
from memory.records import Problem, Trajectory
from memory.trajectories import SqlTrajectoryStore
from training import adapter
from training.calibration import Told, cross_fitted, fit
from training.critic import Asked, Asker, CriticObjective, examples, probabilities, report
from training.errors import BadData
from training.families import families, held_out
from training.plan import Shuffled, judged
from training.ranks import device
from training.run import Run, best
from training.seeds import derived
from training.settings import TrainSettings

REPORT = "report.json"
"""In the run folder: the trained critic and the untrained one on held-out problems."""
CALIBRATION = "calibration.json"
"""In the run folder: the calibration of one checkpoint, which is published with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A run, what is worth saying before it begins, and what the critic is measured on afterwards."""

    run: Run[Asked, int]
    facts: Mapping[str, Any]
    labels: tuple[int, ...]
    unseen: tuple[Asked, ...]
    """Of held-out families."""


async def prepared(
    folder: Path,
    base: Path,
    store: Path | str,
    unseen: Sequence[Problem],
    settings: TrainSettings,
    *,
    start: Path | None = None,
) -> Prepared:
    """The run of `settings.critic` over a trajectory store. Families with a problem of `unseen` are held out, besides
    those that the settings hold out. Raises BadData and StoreUnavailable."""
    async with aclosing(await SqlTrajectoryStore.open(store)) as opened:
        found = [trajectory async for trajectory in opened.select(Selection())]
    problems = {trajectory.problem.id: trajectory.problem for trajectory in found}
    family_of = families([*problems.values(), *(one for one in unseen if one.id not in problems)])
    names = (*settings.data.held_out, *(problem.id for problem in unseen))
    aside = held_out(family_of, settings.data.held_out_share, settings.data.seed, names)
    asker = Asker(base)
    (train, long), (held, _) = (
        asker.ask_all(examples(side, family_of, settings.critic), settings.critic)
        for side in _sides(found, family_of, aside)
    )
    if not train:
        raise BadData(
            "there is nothing to learn from: no judged program of a problem that is not held out is kept. Collect some "
            "(`burnish train collect`), or hold fewer families out"
        )
    facts = {
        "trajectories": len(found),
        "examples": len(train),
        "too_long": long,
        "held_out": len(held),
        "families_held_out": len(aside),
    }
    run: Run[Asked, int] = Run(
        folder=folder,
        kind="critic",
        base=base,
        start=start,
        settings=settings,
        steps=settings.run.steps or math.ceil(settings.run.epochs * len(train) / settings.batch.sequences),
        plan=Shuffled(train, settings.batch.sequences, seed=derived(settings.run.seed, "order")),
        objective=CriticObjective(asker.labels, settings.critic, device()),
        held_out=judged(held, settings.batch.judged, settings.run.seed),
        data=f"sha256:{_digest([*train, *held])}",
        facts=facts,
    )
    return Prepared(run=run, facts=facts, labels=asker.labels, unseen=tuple(held))


def measured(made: Prepared) -> dict[str, Any]:
    """Write and return the report, on the same programs for all: `zero_shot`, what the base model says; `trained`, what
    the best checkpoint says; `likelihood`, by the programs' own log-probabilities and lengths; `calibrated`, by these
    and what the checkpoint says together. The latter two are fitted on other families than those they are measured on;
    the fit on all of them is kept for publishing. Raises BadData where nothing is held out."""
    if not made.unseen:
        raise BadData(
            "nothing is held out, so nothing can be said of the critic; give --unseen, or data.held_out_share"
        )
    run = made.run
    chosen = best(run)
    asked = [one for one in made.unseen if one.example.whole]
    programs = [one.example for one in asked]
    said: dict[str, list[float]] = {}
    for name, weights in (("zero_shot", None), ("trained", chosen.adapter if chosen else None)):
        model = adapter.build(run.base, run.settings.lora, resume=weights, seed=0).to(device())
        said[name] = [row[0] for row in probabilities(model, asked, made.labels)]
        del model
    told = {name: report(programs, chances) for name, chances in said.items()}
    calibrated = [
        Told(said=word, logprob=one.logprob, code=one.code, passed=one.passed, group=one.family)
        for one, word in zip(programs, said["trained"], strict=True)
    ]
    for name, known in (("likelihood", [replace(one, said=0.5) for one in calibrated]), ("calibrated", calibrated)):
        fitted = cross_fitted(known)
        if fitted is not None:
            told[name] = report(programs, *fitted)
    if chosen and programs:
        kept = {"checkpoint": chosen.folder.name, "calibration": asdict(fit(calibrated))}
        replace_text(run.folder / CALIBRATION, json.dumps(kept, indent=1) + "\n")
    replace_text(run.folder / REPORT, json.dumps(told, indent=1) + "\n")
    return told


def calibration_of(checkpoint: Path) -> Calibration | None:
    """The calibration that was fitted for a checkpoint of a run; None if there is none. Raises BadData: unreadable."""
    file = checkpoint.parent.parent / CALIBRATION
    try:
        kept = json.loads(file.read_text())
        return Calibration(**kept["calibration"]) if kept["checkpoint"] == checkpoint.name else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadData(f"{file} holds no calibration ({error}); train the critic again, or remove the file") from error


def _sides(
    found: Sequence[Trajectory], family_of: Mapping[str, str], aside: frozenset[str]
) -> tuple[list[Trajectory], list[Trajectory]]:
    """Trajectories to train on, and held-out ones."""
    train = [one for one in found if family_of[one.problem.id] not in aside]
    return train, [one for one in found if family_of[one.problem.id] in aside]


def _digest(asked: Sequence[Asked]) -> str:
    told = hashlib.sha256()
    for one in asked:
        told.update(repr((one.example.problem_id, one.ids, one.label)).encode())
    return told.hexdigest()
