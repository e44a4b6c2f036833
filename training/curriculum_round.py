"""One round of the curriculum: every problem that does not rest is asked in its stage, and what passed moves it on.

StepCoder (arXiv 2402.01391), CCCS. Deviation: the state is a file beside the trajectories, not a part of the trainer's
checkpoint, because here attempts are collected by one command and learned from by another. It is written when a round
is complete; the attempts of one that was stopped are in the store, and the same command goes on with it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from agent.adapters import replace_text
from agent.policy import Policy
from agent.sandbox.contract import Sandbox
from memory.records import Outcome, Problem
from memory.trajectories import TrajectoryStore
from training.collect import Collected, CollectSettings, collect, trajectory_id
from training.curriculum import Curriculum, CurriculumSettings
from training.errors import BadData
from training.seeds import derived


async def curriculum_round(
    file: Path,
    problems: Sequence[Problem],
    model: str,
    settings: CollectSettings,
    *,
    policy: Policy,
    sandbox: Sandbox,
    store: TrajectoryStore,
    rules: CurriculumSettings | None = None,
    stop: asyncio.Event | None = None,
    tell: Callable[[Collected], None] = lambda collected: None,
) -> Collected:
    """Collect the round that the state in `file` stands at, the first one if there is no such file, and write the state
    after it. Raises BadData for a file of something else, and what `collect` raises: then the file is as before."""
    curriculum, number = _read(file, rules or CurriculumSettings())
    settings = settings.model_copy(update={"seed": derived(settings.seed, "round", number)})
    active = [problem for problem in problems if not curriculum.progress(problem.id).parked]
    prefixes = {problem.id: curriculum.prefix(problem) for problem in active}
    stages = {problem.id: curriculum.progress(problem.id).stage for problem in active}
    collected = await collect(
        active,
        model,
        settings,
        policy=policy,
        sandbox=sandbox,
        store=store,
        prefixes=lambda problem: prefixes[problem.id],
        stop=stop,
        tell=tell,
    )
    if collected.done < collected.total:
        return collected
    curriculum.next_round()
    for problem in active:
        made = await store.get(trajectory_id(problem, model, settings, prefixes[problem.id]))
        for attempt in made.attempts if made else ():
            if attempt.verdict is not None and attempt.verdict.outcome is not Outcome.SANDBOX_ERROR:
                curriculum.record(problem, stages[problem.id], attempt.verdict.outcome is Outcome.PASSED)
    replace_text(file, json.dumps({"round": number + 1, "problems": curriculum.state()}, indent=1) + "\n")
    return collected


def _read(file: Path, rules: CurriculumSettings) -> tuple[Curriculum, int]:
    """Where the problems stand, and the number of the round."""
    curriculum = Curriculum(rules)
    if not file.exists():
        return curriculum, 0
    try:
        told: dict[str, Any] = json.loads(file.read_text())
        curriculum.restore(told["problems"])
        return curriculum, int(told["round"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadData(
            f"{file} holds no curriculum ({type(error).__name__}: {error}); give the file that an earlier round wrote, "
            "or a new name"
        ) from error
