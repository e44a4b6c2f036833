"""A run that trains the policy: kept attempts and reference solutions, an algorithm's streams, the loop."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from memory.experience import Selection
from memory.records import Problem
from memory.trajectories import SqlTrajectoryStore
from training import adapter
from training.algorithms import Algorithm, algorithm
from training.batch import Example
from training.buffer import Buffer, BufferSettings
from training.critic import Asker, scored
from training.dataset import Builder, Dataset, DatasetSettings, digest, groups, split
from training.dataset import Counts as Attempts
from training.errors import BadData
from training.families import families, held_out
from training.objective import Counts, StreamObjective
from training.plan import Shuffled, judged
from training.ranks import device
from training.references import Renderer, first_prompts, references
from training.run import Run
from training.sample import TokenSample
from training.seeds import derived
from training.settings import TrainSettings
from training.versions import version_number


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A run, and what is worth saying before it begins."""

    run: Run[Example, Counts]
    facts: Mapping[str, Any]


async def prepared(
    folder: Path,
    base: Path,
    store: Path | str,
    problems: Sequence[Problem],
    settings: TrainSettings,
    *,
    start: Path | None = None,
    critic: Path | None = None,
) -> Prepared:
    """The run of `settings` over a trajectory store, and over the reference solutions of `problems` where the algorithm
    wants some; the critic in the folder `critic` says of each token how likely the outcome was (CodeRL, RLTF). Raises
    BadData, BadSettings, CheckpointError and StoreUnavailable."""
    chosen = algorithm(settings.algorithm.name, settings.algorithm.options)
    renderer = Renderer(base)
    builder = Builder(renderer.vocabulary, settings.data)
    for problem in problems:
        builder.know(problem)
    async with aclosing(await SqlTrajectoryStore.open(store)) as opened:
        async for trajectory in opened.select(Selection()):
            builder.add(trajectory)
    only_references = chosen.reference_share == 1.0
    try:
        found = builder.finish()
    except BadData:
        if not only_references:
            raise
        found = _without_attempts(problems, settings)
    if settings.buffer is not None:
        found = replace(found, train=_newest(found.train, settings.data, settings.buffer))
    if critic is not None:
        found = _with_critic(found, base, critic, settings.lora.max_rank)
    asked = _references(found, problems, renderer, settings) if chosen.needs_references else ([], [])
    train, aside = (_examples(chosen, [] if only_references else side) for side in (found.train, found.held_out))
    others, others_aside = (_examples(chosen, side) for side in asked)
    if not train and not only_references:
        raise BadData(
            f"there is nothing to learn from: in all {len(found.train)} samples the reward equals its baseline, or the "
            f"algorithm {chosen.name} has no use for them. Collect problems that the model solves sometimes, or more "
            "samples of each"
        )
    size = settings.batch.sequences
    own = size - round(size * chosen.reference_share) if train else size
    steps = settings.run.steps or math.ceil(settings.run.epochs * len(train or others) / own)
    facts = {
        "trajectories": found.counts.trajectories,
        "refused": dict(found.counts.refused),
        "samples": len(found.train),
        "learned_from": len(train),
        "references": len(others),
        "held_out": len(aside) + len(others_aside),
        "families_held_out": len(found.families_held_out),
    }
    run: Run[Example, Counts] = Run(
        folder=folder,
        kind="policy",
        base=base,
        start=start,
        settings=settings,
        steps=steps,
        plan=Shuffled(
            train,
            size,
            seed=derived(settings.run.seed, "order"),
            others=others,
            share=chosen.reference_share,
        ),
        objective=StreamObjective(
            chosen.form, chosen.losses, micro_tokens=settings.batch.micro_tokens, device=device()
        ),
        choose_last=True,  # how likely the answers of another version are says little about what this one will write
        held_out=judged([*aside, *others_aside], settings.batch.judged, settings.run.seed),
        data=f"sha256:{digest([*found.train, *found.held_out, *asked[0], *asked[1]])}",
        facts=facts,
    )
    return Prepared(run=run, facts=facts)


def _newest(samples: Sequence[TokenSample], data: DatasetSettings, window: BufferSettings) -> tuple[TokenSample, ...]:
    """What online training draws from: the window as it stands after all of them came in."""
    numbers = (version_number(sample.policy_version, data.base) or 0 for sample in samples)
    current = data.current if data.current is not None else max(numbers, default=0)
    return Buffer(data.base, window).add(samples, current).samples


def _with_critic(found: Dataset, base: Path, folder: Path, max_rank: int) -> Dataset:
    """The same samples with the critic's values."""
    model = adapter.build(base, adapter.shape(folder, max_rank), resume=folder).to(device())
    labels = Asker(base).labels
    train, aside = (tuple(scored(model, side, labels)) for side in (found.train, found.held_out))
    return replace(found, train=train, held_out=aside)


def _examples(chosen: Algorithm, samples: Sequence[TokenSample]) -> list[Example]:
    """The samples from which something is learned."""
    return [
        Example(sample, streams)
        for group in groups(samples)
        for sample, streams in zip(group, chosen.streams(group), strict=True)
        if not streams.empty
    ]


def _references(
    found: Dataset, problems: Sequence[Problem], renderer: Renderer, settings: TrainSettings
) -> tuple[list[TokenSample], list[TokenSample]]:
    """Reference solutions to train on, and held-out ones."""
    known = {problem.id: problem for problem in (*found.problems.values(), *problems)}
    made = references(
        known.values(),
        found.families,
        renderer,
        stored=first_prompts((*found.train, *found.held_out)),
        max_tokens=settings.data.max_tokens,
    )
    return split(made.samples, found.families_held_out)


def _without_attempts(problems: Sequence[Problem], settings: TrainSettings) -> Dataset:
    """Problems and their families alone."""
    family_of = families(problems)
    return Dataset(
        train=(),
        held_out=(),
        problems={problem.id: problem for problem in problems},
        families=family_of,
        families_held_out=held_out(family_of, settings.data.held_out_share, settings.data.seed, settings.data.held_out),
        counts=Attempts(),
        digest="",
    )
