"""CCCS, the curriculum of StepCoder (arXiv 2402.01391): the policy completes reference solutions, less given each time.

In reading order: the conditionals of the reference have the starts c_1 < ... < c_E; a subtask gives the reference up to
one of them, and the policy writes the rest; it begins near the end and moves to the beginning in ceil(sqrt(E)) stages
when enough attempts pass.

Deviations, where the paper is silent. Conditionals are `if`, `elif`, `for`, `while` and `match`; stage j of S starts at
c_(E - floor(j * E / S)), stage S at the beginning; without conditionals that is the first stage. Cuts lie at starts of
lines, so that the indentation is the policy's. A stage ends when half of its last 16 attempts pass; after 128 attempts
without that the problem rests for a round. Pure: the state depends on what is recorded and nothing else.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from pydantic import Field

from agent.prompts import FENCE
from agent.settings import Frozen
from memory.records import Problem
from memory.syntax import parse

_CONDITIONALS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.Match)


class CurriculumSettings(Frozen):
    """When a problem becomes harder."""

    window: int = Field(default=16, ge=1)
    """Attempts of the stage that are looked at."""
    gate: float = Field(default=0.5, gt=0, le=1)
    """Share of them that must pass."""
    patience: int = Field(default=128, ge=1)
    """Attempts without advancing, after which the problem rests."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a problem stands."""

    stage: int = 0
    attempts: int = 0
    """In this stage."""
    window: tuple[bool, ...] = ()
    """Whether the last of them passed."""
    parked: bool = False


def cuts(reference: str) -> tuple[int, ...]:
    """Characters of the reference that are given, by stage; the last is 0. One that does not parse has that alone."""
    tree = parse(reference)
    if tree is None:
        return (0,)
    lines = sorted({node.lineno for node in ast.walk(tree) if isinstance(node, _CONDITIONALS)})
    count = len(lines)
    stages = math.ceil(math.sqrt(count))
    starts = [0]
    for line in reference.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    return (*(starts[lines[count - stage * count // stages - 1] - 1] for stage in range(stages)), 0)


class Curriculum:
    """What is given of each problem's reference."""

    def __init__(self, settings: CurriculumSettings) -> None:
        self._settings = settings
        self._progress: dict[str, Progress] = {}

    def progress(self, problem_id: str) -> Progress:
        """Where a problem stands."""
        return self._progress.get(problem_id, Progress())

    def prefix(self, problem: Problem) -> str:
        """Beginning of the answer, the opening of its code block included; empty in the last stage. The `prefixes` of
        training/collect.py."""
        reference = (problem.reference or "").strip("\n")
        given = cuts(reference)
        cut = given[min(self.progress(problem.id).stage, len(given) - 1)]
        return FENCE + reference[:cut] if cut else ""

    def record(self, problem: Problem, stage: int, passed: bool) -> None:
        """An attempt of a problem in a stage; one of a stage that is over changes nothing."""
        now = self.progress(problem.id)
        last = len(cuts((problem.reference or "").strip("\n"))) - 1
        if stage != now.stage or now.parked:
            return
        window = (*now.window, passed)[-self._settings.window :]
        now = replace(now, attempts=now.attempts + 1, window=window)
        full = len(window) == self._settings.window
        if full and stage < last and sum(window) >= self._settings.gate * len(window):
            now = Progress(stage=stage + 1)
        elif now.attempts >= self._settings.patience and stage < last:
            now = replace(now, parked=True)
        self._progress[problem.id] = now

    def next_round(self) -> None:
        """Problems that rested take part again, with a new window."""
        for name, now in self._progress.items():
            if now.parked:
                self._progress[name] = Progress(stage=now.stage)

    def state(self) -> dict[str, Any]:
        """As JSON; part of a checkpoint."""
        return {name: {**asdict(now), "window": list(now.window)} for name, now in sorted(self._progress.items())}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self._progress = {name: Progress(**{**now, "window": tuple(now["window"])}) for name, now in state.items()}
