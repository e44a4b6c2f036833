"""A run that trains the critic on kept attempts, and how good it is on problems that it never saw."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.adapters import replace_text
from memory.experience import Selection
from memory.records import Problem, Trajectory
from memory.trajectories import SqlTrajectoryStore
from training import adapter
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
    """Write and return the report: `trained` by the best checkpoint, `zero_shot` by the base model, on the same
    programs. Raises BadData where nothing is held out."""
    if not made.unseen:
        raise BadData(
            "nothing is held out, so nothing can be said of the critic; give --unseen, or data.held_out_share"
        )
    run = made.run
    chosen = best(run)
    told: dict[str, Any] = {}
    for name, weights in (("zero_shot", None), ("trained", chosen.adapter if chosen else None)):
        model = adapter.build(run.base, run.settings.lora, resume=weights, seed=0).to(device())
        told[name] = report(made.unseen, probabilities(model, made.unseen, made.labels))
        del model
    replace_text(run.folder / REPORT, json.dumps(told, indent=1) + "\n")
    return told


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
