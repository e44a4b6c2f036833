"""The sandbox for programs: warm, jailed workers, each running one program at a time."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import replace

from agent.errors import IsolationUnavailable
from agent.sandbox import agreement, verdict
from agent.sandbox import plan as plans
from agent.sandbox.contract import Isolation
from agent.sandbox.crew import Crew
from agent.sandbox.execution import Run
from agent.sandbox.process import WorkerLost
from agent.sandbox.session import Program
from agent.settings import SandboxSettings
from memory.records import CaseResult, Fault, Limits, Outcome, Test, Verdict

_ATTEMPTS = 2
_TIERS = {"auto": ("A", "B"), "A": ("A",), "B": ("B",)}


class WorkerPool:
    """Implements `contract.Sandbox`. Made by `start`, ended by `aclose`; belongs to one event loop."""

    def __init__(self, crew: Crew, tier: str) -> None:
        self._crew = crew
        self._tier = tier
        self._process_starters: Crew | None = None
        self._starting = asyncio.Lock()
        self._closed = False

    @classmethod
    async def start(cls, settings: SandboxSettings) -> WorkerPool:
        """Start the workers in the best tier that the settings accept and probe their walls. Raises
        IsolationUnavailable."""
        missing: list[str] = []
        for tier in _TIERS[settings.tier]:
            try:
                crew = await Crew.start(settings.workers or os.cpu_count() or 1, tier)
            except IsolationUnavailable as error:
                missing += error.missing
            else:
                crew.isolation = replace(crew.isolation, missing=tuple(missing))
                return cls(crew, tier)
        raise IsolationUnavailable(tuple(missing))

    @property
    def isolation(self) -> Isolation:
        return self._crew.isolation

    @property
    def waiting(self) -> int:
        starters = self._process_starters
        return self._crew.waiting + (starters.waiting if starters else 0)

    async def __aenter__(self) -> WorkerPool:
        return self

    async def __aexit__(self, *details: object) -> None:
        await self.aclose()

    async def run(
        self,
        code: str,
        tests: Sequence[Test],
        *,
        entry_point: str | None = None,
        prelude: str = "",
        limits: Limits | None = None,
        run_id: str = "",
        owner: str = "",
        flaky_check: bool = False,
    ) -> Verdict:
        """See `contract.Sandbox.run`."""
        plan = plans.make(tests, entry_point=entry_point, prelude=prelude)
        program = Program(code, prelude, entry_point, limits or Limits())
        if len(code) > plans.MAX_SOURCE:
            return _too_long(run_id, tests)
        first = await self._run(program, plan, run_id, owner)
        if not flaky_check:
            return first
        return agreement.of_both(first, await self._run(replace(program, seed=1), plan, run_id, owner))

    async def _run(self, program: Program, plan: plans.Plan, run_id: str, owner: str) -> Verdict:
        message = "the sandbox is closed"
        for _ in range(_ATTEMPTS):
            if self._closed:
                break
            try:
                crew = await self._crew_that_starts_processes() if program.limits.processes else self._crew
            except IsolationUnavailable as error:
                return verdict.sandbox_error(run_id, str(error))
            worker = await crew.take(owner)
            if worker is None:
                break
            lost = False
            try:
                return await Run(worker, program, plan, run_id).execute()
            except WorkerLost as error:
                message, lost = str(error), True
            finally:
                crew.give_back(worker, lost=lost)
        return verdict.sandbox_error(run_id, message)

    async def aclose(self) -> None:
        """See `contract.Sandbox.aclose`. Runs under way, and callers still waiting, get a `sandbox_error`."""
        self._closed = True
        await self._crew.aclose()
        async with self._starting:
            if self._process_starters is not None:
                await self._process_starters.aclose()

    async def _crew_that_starts_processes(self) -> Crew:
        """Few programs need it, so its one worker is made for the first. Raises IsolationUnavailable."""
        async with self._starting:
            if self._process_starters is None:
                self._process_starters = await Crew.start(1, self._tier, starts_processes=True)
            return self._process_starters


def _too_long(run_id: str, tests: Sequence[Test]) -> Verdict:
    message = f"the program is longer than {plans.MAX_SOURCE} characters"
    outcome = Outcome.COMPILE_ERROR
    cases = tuple(CaseResult(name=f"test {index + 1}", outcome=outcome) for index in range(len(tests)))
    fault = Fault(type="ValueError", message=message)
    return Verdict(id=run_id, outcome=outcome, passed=0, total=len(tests), cases=cases, error=fault)
