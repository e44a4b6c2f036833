"""What people do with memory: look at it, search it, take it out, put theirs in, have it forgotten."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.errors import BadTests
from agent.experience.remembering import owned, remembered
from agent.given_tests import read_tests
from agent.review.quality import quality
from agent.sandbox.contract import Sandbox
from agent.task import read_problem
from agent.trial import trial
from memory.benchmarks import is_benchmark
from memory.experience import ExperienceStore, Query, Recalled, Selection, Stats
from memory.recent import Recent
from memory.records import Experience, Outcome, Problem, TestSource
from memory.trajectories import TrajectoryStore
from memory.wire import from_json

_BATCH = 64
"""Experiences that are embedded and written together."""


class Snippet(BaseModel):
    """A program of a team's own, as a line to import."""

    model_config = ConfigDict(extra="forbid", strict=True)

    task: str = Field(min_length=1, max_length=100_000)
    """What it solves, as one would ask for it; examples in it count as tests."""
    code: str = Field(min_length=1, max_length=100_000)
    tests: str | list[dict[str, Any]] = []
    entry_point: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A line that was not imported."""

    line: int
    """From 1."""
    reason: str


@dataclass(slots=True)
class Imported:
    """What became of the lines."""

    added: int = 0
    known: int = 0
    """Already there."""
    refused: list[Refused] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Purged:
    """How much was forgotten."""

    experiences: int
    trajectories: int
    recent: int
    """Entries of the short-term memory."""


@dataclass(frozen=True, slots=True)
class Memories:
    """The stores, as one. Every method raises MemoryFailure."""

    experiences: ExperienceStore
    trajectories: TrajectoryStore
    recent: Recent
    sandbox: Sandbox | None
    """Runs what is imported; None: programs with tests cannot be imported."""
    forget_thread: Callable[[str], Awaitable[None]]
    """Deletes the loop's checkpoints of one trajectory."""

    async def stats(self, tenant: str | None) -> Stats:
        """Of one tenant, or of all."""
        return await self.experiences.stats(tenant)

    async def search(self, tenant: str, text: str, kind: Literal["solution", "lesson"], limit: int) -> list[Recalled]:
        """What a request with this text would be reminded of."""
        query = Query(tenant=tenant, kind=kind, text=text, words=(text,), limit=limit)
        return list(await self.experiences.near(query))

    def exported(self, selection: Selection) -> AsyncIterator[Experience]:
        """The selected experiences, oldest first."""
        return self.experiences.every(selection)

    async def add(self, tenant: str, lines: Iterable[str], now: float, *, trust: bool) -> Imported:
        """Import JSON lines: experiences as they were exported, or snippets (`Snippet`).

        A snippet must pass its tests here; `trust` takes one without tests too. Problems of benchmarks are refused.
        """
        imported, batch = Imported(), list[Experience]()
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                batch.append(await self._read(tenant, line, now, trust=trust))
            except _Refusal as refusal:
                imported.refused.append(Refused(number, str(refusal)))
            if len(batch) == _BATCH:
                await self._keep(batch, imported)
                batch = []
        await self._keep(batch, imported)
        return imported

    async def purge(self, selection: Selection) -> Purged:
        """Forget everything that was selected, completely: experiences with their vectors, trajectories with their
        feedback and checkpoints, short-term memory."""
        experiences = await self.experiences.purge(selection)
        trajectories = await self.trajectories.purge(selection)
        for trajectory_id in trajectories:
            await self.forget_thread(trajectory_id)
        return Purged(experiences, len(trajectories), self.recent.purge(selection))

    async def _keep(self, batch: list[Experience], imported: Imported) -> None:
        if batch:
            added = await self.experiences.add(batch)
            imported.added += added
            imported.known += len(batch) - added

    async def _read(self, tenant: str, line: str, now: float, *, trust: bool) -> Experience:
        try:
            data = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _Refusal(f"no JSON: {error}") from error
        if isinstance(data, dict) and "kind" in data:
            return _exported(tenant, line)
        try:
            snippet = Snippet.model_validate(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise _Refusal(f"{where}: {first['msg']}; a line has task, code and, if need be, tests") from error
        return await self._verified(tenant, snippet, now, trust=trust)

    async def _verified(self, tenant: str, snippet: Snippet, now: float, *, trust: bool) -> Experience:
        try:
            tests = read_tests(snippet.tests)
            problem = read_problem("import", [{"role": "user", "content": snippet.task}], tests, snippet.entry_point)
            if is_benchmark(snippet.task) or is_benchmark(snippet.code):
                raise _Refusal("it is a problem of a benchmark, which must not be remembered")
            passed = await self._passed(problem, snippet.code, tenant) if problem.visible else 0
        except BadTests as error:
            raise _Refusal(str(error)) from error
        if not problem.visible and not trust:
            raise _Refusal("it has no tests; give some, or --trust to take it as it is")
        return remembered(
            problem,
            snippet.code,
            tenant=tenant,
            source=TestSource.REQUEST if problem.visible else TestSource.NONE,
            passed=passed,
            quality=await quality(problem, snippet.code),
            created=now,
        )

    async def _passed(self, problem: Problem, code: str, tenant: str) -> int:
        if self.sandbox is None:
            raise _Refusal("this machine cannot isolate programs, so its tests were not run")
        verdict = await trial(self.sandbox, problem, code, problem.visible, owner=f"import for {tenant}")
        if verdict.outcome is not Outcome.PASSED:
            raise _Refusal(f"it does not pass its tests: {verdict.outcome.value}, {verdict.passed} of {verdict.total}")
        return verdict.passed


class _Refusal(Exception):
    """This line is not imported."""


def _exported(tenant: str, line: str) -> Experience:
    """An exported line; it becomes the importing tenant's own."""
    try:
        experience = from_json(Experience, line)
    except ValidationError as error:
        raise _Refusal(f"no exported experience: {error.errors()[0]['msg']}") from error
    if is_benchmark(experience.gist) or is_benchmark(experience.code):
        raise _Refusal("it is a problem of a benchmark, which must not be remembered")
    return owned(experience, tenant)
