"""The sandbox for programs: warm, jailed workers, each running one program at a time."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from agent.errors import IsolationUnavailable
from agent.sandbox import agreement, verdict
from agent.sandbox import plan as plans
from agent.sandbox.contract import Isolation
from agent.sandbox.crew import Crew
from agent.sandbox.execution import Run
from agent.sandbox.native import language as languages
from agent.sandbox.native import plan as native_plans
from agent.sandbox.native.language import Language
from agent.sandbox.native.run import NativeRun
from agent.sandbox.native.runtime import Source
from agent.sandbox.native.runtimes import Runtimes
from agent.sandbox.native.toolchain import NoToolchain
from agent.sandbox.process import WorkerLost, WorkerProcess
from agent.sandbox.session import Program
from agent.settings import SandboxSettings
from memory.records import CaseResult, Fault, Limits, Outcome, Test, Verdict

_ATTEMPTS = 2
_TIERS = {"auto": ("A", "B"), "A": ("A",), "B": ("B",)}
_LIMITS = Limits()
_Seeded = TypeVar("_Seeded", Program, Source)
_Execute = Callable[[WorkerProcess, int], Awaitable[Verdict]]
"""On a worker, with a seed."""
_Prepare = Callable[[], Awaitable[tuple[Crew, _Execute]]]
"""The workers for a program, and what one of them is to do with it."""


class WorkerPool:
    """Implements `contract.Sandbox`. Made by `start`, ended by `aclose`; belongs to one event loop."""

    def __init__(self, crew: Crew, tier: str, runtimes: Runtimes) -> None:
        self._crew = crew
        self._tier = tier
        self._runtimes = runtimes
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
                return cls(crew, tier, Runtimes(settings, tier))
        raise IsolationUnavailable(tuple(missing))

    @property
    def isolation(self) -> Isolation:
        return self._crew.isolation

    @property
    def waiting(self) -> int:
        starters = self._process_starters
        return self._crew.waiting + (starters.waiting if starters else 0) + self._runtimes.waiting

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
        language: str = "python",
    ) -> Verdict:
        """See `contract.Sandbox.run`."""
        spoken = languages.named(language)
        allowed = limits or _LIMITS
        if spoken is Language.PYTHON:
            plan = plans.make(tests, entry_point=entry_point, prelude=prelude)
            prepare = self._python(
                Program(code, prelude, entry_point, allowed, prelude_script=plan.prelude), plan, run_id
            )
        else:
            wanted = native_plans.make(tests, spoken)
            prepare = self._native(Source(code, prelude, allowed), spoken, wanted, run_id)
        if len(code) > plans.MAX_SOURCE:
            return _too_long(run_id, tests)
        first = await self._run(prepare, 0, run_id, owner)
        if not flaky_check:
            return first
        return agreement.of_both(first, await self._run(prepare, 1, run_id, owner))

    def _python(self, program: Program, plan: plans.Plan, run_id: str) -> _Prepare:
        async def prepare() -> tuple[Crew, _Execute]:
            crew = await self._crew_that_starts_processes() if program.limits.processes else self._crew
            return crew, lambda worker, seed: Run(worker, _seeded(program, seed), plan, run_id).execute()

        return prepare

    def _native(self, source: Source, spoken: Language, plan: native_plans.Plan, run_id: str) -> _Prepare:
        async def prepare() -> tuple[Crew, _Execute]:
            runtime, crew = await self._runtimes.of(spoken)
            return crew, lambda worker, seed: NativeRun(worker, runtime, _seeded(source, seed), plan, run_id).execute()

        return prepare

    async def _run(self, prepare: _Prepare, seed: int, run_id: str, owner: str) -> Verdict:
        message = "the sandbox is closed"
        for _ in range(_ATTEMPTS):
            if self._closed:
                break
            try:
                crew, execute = await prepare()
            except (IsolationUnavailable, NoToolchain) as error:
                return verdict.sandbox_error(run_id, str(error))
            worker = await crew.take(owner)
            if worker is None:
                break
            lost = True
            try:
                made = await execute(worker, seed)
                lost = False
                return made
            except asyncio.CancelledError:
                lost = False
                raise
            except WorkerLost as error:
                message = str(error)
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
        await self._runtimes.aclose()

    async def _crew_that_starts_processes(self) -> Crew:
        """Few programs need it, so its one worker is made for the first. Raises IsolationUnavailable."""
        async with self._starting:
            if self._process_starters is None:
                self._process_starters = await Crew.start(1, self._tier, starts_processes=True)
            return self._process_starters


def _seeded(what: _Seeded, seed: int) -> _Seeded:
    return replace(what, seed=seed) if seed != what.seed else what


def _too_long(run_id: str, tests: Sequence[Test]) -> Verdict:
    message = f"the program is longer than {plans.MAX_SOURCE} characters"
    outcome = Outcome.COMPILE_ERROR
    cases = tuple(CaseResult(name=f"test {index + 1}", outcome=outcome) for index in range(len(tests)))
    fault = Fault(type="ValueError", message=message)
    return Verdict(id=run_id, outcome=outcome, passed=0, total=len(tests), cases=cases, error=fault)
