"""The sandbox for Python programs: a pool of warm, jailed workers, each running one program at a time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace

from agent.errors import IsolationUnavailable
from agent.sandbox import agreement, verdict
from agent.sandbox import plan as plans
from agent.sandbox.contract import Isolation
from agent.sandbox.execution import Run
from agent.sandbox.jail import Bait
from agent.sandbox.process import WorkerLost, WorkerProcess, make_bait
from agent.sandbox.session import Program
from agent.settings import SandboxSettings
from memory.records import CaseResult, Fault, Limits, Outcome, Test, Verdict

RUNS_PER_WORKER = 2000
_ATTEMPTS = 2
_QUIET_SECONDS = 2.0
_RESTART_SECONDS = 1.0


class WorkerPool:
    """Implements `contract.Sandbox`. Made by `start`, ended by `aclose`; belongs to one event loop."""

    def __init__(self, workers: list[WorkerProcess], isolation: Isolation) -> None:
        self._isolation = isolation
        self._workers = set(workers)
        self._idle: asyncio.Queue[WorkerProcess | None] = asyncio.Queue()
        self._chores: set[asyncio.Task[None]] = set()
        self._closed = False
        for worker in workers:
            self._idle.put_nowait(worker)

    @classmethod
    async def start(cls, settings: SandboxSettings) -> WorkerPool:
        """Start the workers and probe their walls. Raises IsolationUnavailable."""
        count = settings.workers or os.cpu_count() or 1
        with _baited() as bait:
            started = await asyncio.gather(*(WorkerProcess.start(bait) for _ in range(count)), return_exceptions=True)
        workers = [result for result in started if not isinstance(result, BaseException)]
        failures = [result for result in started if isinstance(result, BaseException)]
        if failures:
            await asyncio.gather(*(worker.aclose() for worker, _ in workers))
            raise failures[0]
        return cls([worker for worker, _ in workers], workers[0][1])

    @property
    def isolation(self) -> Isolation:
        return self._isolation

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
        flaky_check: bool = False,
    ) -> Verdict:
        """See `contract.Sandbox.run`."""
        plan = plans.make(tests, entry_point=entry_point, prelude=prelude)
        program = Program(code, prelude, entry_point, limits or Limits())
        if len(code) > plans.MAX_SOURCE:
            return _too_long(run_id, tests)
        first = await self._run(program, plan, run_id)
        if not flaky_check:
            return first
        return agreement.of_both(first, await self._run(replace(program, seed=1), plan, run_id))

    async def _run(self, program: Program, plan: plans.Plan, run_id: str) -> Verdict:
        message = "the sandbox is closed"
        for _ in range(_ATTEMPTS):
            worker = None if self._closed else await self._idle.get()
            if worker is None:
                self._idle.put_nowait(None)
                break
            try:
                return await Run(worker, program, plan, run_id).execute()
            except WorkerLost as error:
                message = str(error)
                worker.runs = RUNS_PER_WORKER
            finally:
                self._give_back(worker)
        return verdict.sandbox_error(run_id, message)

    async def aclose(self) -> None:
        """See `contract.Sandbox.aclose`. Runs under way, and callers still waiting, get a `sandbox_error`."""
        if self._closed:
            return
        self._closed = True
        self._idle.put_nowait(None)
        for chore in self._chores:
            chore.cancel()
        await asyncio.gather(*self._chores, return_exceptions=True)
        await asyncio.gather(*(worker.aclose() for worker in self._workers))

    def _give_back(self, worker: WorkerProcess) -> None:
        if self._closed:
            return
        worker.runs += 1
        chore = asyncio.get_running_loop().create_task(self._restore(worker))
        self._chores.add(chore)
        chore.add_done_callback(self._chores.discard)

    async def _restore(self, worker: WorkerProcess) -> None:
        """Put the worker back once nothing of its last run is left, or another in its place."""
        if worker.runs < RUNS_PER_WORKER and await worker.quiet(_QUIET_SECONDS):
            self._idle.put_nowait(worker)
            return
        self._workers.discard(worker)
        await worker.aclose()
        while True:
            with contextlib.suppress(IsolationUnavailable), _baited() as bait:
                fresh, _ = await WorkerProcess.start(bait)
                self._workers.add(fresh)
                self._idle.put_nowait(fresh)
                return
            await asyncio.sleep(_RESTART_SECONDS)


@contextlib.contextmanager
def _baited() -> Iterator[Bait]:
    """What a worker must not reach, while it is probed."""
    with socket.create_server(("127.0.0.1", 0)) as listener, tempfile.NamedTemporaryFile() as file:
        file.write(b"canary")
        file.flush()
        yield make_bait(listener.getsockname()[1], file.name)


def _too_long(run_id: str, tests: Sequence[Test]) -> Verdict:
    message = f"the program is longer than {plans.MAX_SOURCE} characters"
    outcome = Outcome.COMPILE_ERROR
    cases = tuple(CaseResult(name=f"test {index + 1}", outcome=outcome) for index in range(len(tests)))
    fault = Fault(type="ValueError", message=message)
    return Verdict(id=run_id, outcome=outcome, passed=0, total=len(tests), cases=cases, error=fault)
