"""Workers of one kind: made at the start or when first asked for, renewed, replaced when lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import tempfile
from collections.abc import Iterator, Sequence

from agent.errors import IsolationUnavailable
from agent.sandbox.contract import Isolation
from agent.sandbox.process import WorkerProcess, make_bait
from agent.sandbox.turns import Turns
from agent.sandbox.walls.probe import Bait

RUNS_PER_WORKER = 2000
_QUIET_SECONDS = 2.0
_RESTART_SECONDS = 1.0


class Crew:
    """Made by `start`, ended by `aclose`; belongs to one event loop."""

    def __init__(
        self,
        workers: list[WorkerProcess],
        isolation: Isolation,
        tier: str,
        *,
        starts_processes: bool,
        tools: Sequence[str],
    ) -> None:
        self.isolation = isolation
        self.workers = set(workers)
        self._tier = tier
        self._starts_processes = starts_processes
        self._tools = tools
        self._turns: Turns[WorkerProcess] = Turns()
        self._chores: set[asyncio.Task[None]] = set()
        self._closed = False
        for worker in workers:
            self._turns.give(worker)

    @classmethod
    async def start(cls, count: int, tier: str, *, starts_processes: bool = False, tools: Sequence[str] = ()) -> Crew:
        """Start `count` workers of `tier`, whose jails show `tools`, and probe their walls. Raises
        IsolationUnavailable."""
        cores = sorted(os.sched_getaffinity(0))
        with _baited() as bait:
            started = await asyncio.gather(
                *(
                    WorkerProcess.start(
                        tier, bait, starts_processes=starts_processes, tools=tools, core=cores[number % len(cores)]
                    )
                    for number in range(count)
                ),
                return_exceptions=True,
            )
        workers = [result for result in started if not isinstance(result, BaseException)]
        failures = [result for result in started if isinstance(result, BaseException)]
        if failures:
            await asyncio.gather(*(worker.aclose() for worker, _ in workers))
            raise failures[0]
        made = [worker for worker, _ in workers]
        return cls(made, workers[0][1], tier, starts_processes=starts_processes, tools=tools)

    @property
    def waiting(self) -> int:
        """Callers that wait for a free worker."""
        return self._turns.waiting

    async def take(self, owner: str) -> WorkerProcess | None:
        """A free worker, waited for in turn with other owners; None once the crew is closed. One that was lost while it
        was free is replaced first."""
        while (worker := await self._turns.take(owner)) is not None and not worker.lives():
            self._renew(worker)
        return worker

    def give_back(self, worker: WorkerProcess, *, lost: bool) -> None:
        """End the use of a worker: it is free again when nothing of its last run is left, or replaced."""
        if self._closed:
            return
        worker.runs += 1
        if not lost and worker.is_quiet and worker.runs < RUNS_PER_WORKER:
            self._turns.give(worker)
            return
        self._renew(worker, lost=lost)

    def _renew(self, worker: WorkerProcess, *, lost: bool = True) -> None:
        chore = asyncio.get_running_loop().create_task(self._restore(worker, lost=lost))
        self._chores.add(chore)
        chore.add_done_callback(self._chores.discard)

    async def aclose(self) -> None:
        """End the workers and send away who waits for one."""
        self._closed = True
        self._turns.close()
        for chore in self._chores:
            chore.cancel()
        await asyncio.gather(*self._chores, return_exceptions=True)
        await asyncio.gather(*(worker.aclose() for worker in self.workers))

    async def _restore(self, worker: WorkerProcess, *, lost: bool) -> None:
        if not lost and await worker.quiet(_QUIET_SECONDS) and worker.runs < RUNS_PER_WORKER:
            self._turns.give(worker)
            return
        self.workers.discard(worker)
        await worker.aclose()
        while True:
            with contextlib.suppress(IsolationUnavailable), _baited() as bait:
                fresh, _ = await WorkerProcess.start(
                    self._tier, bait, starts_processes=self._starts_processes, tools=self._tools, core=worker.core
                )
                self.workers.add(fresh)
                self._turns.give(fresh)
                return
            await asyncio.sleep(_RESTART_SECONDS)


@contextlib.contextmanager
def _baited() -> Iterator[Bait]:
    """What a worker must not reach, while it is probed."""
    with socket.create_server(("127.0.0.1", 0)) as listener, tempfile.NamedTemporaryFile() as file:
        file.write(b"canary")
        file.flush()
        yield make_bait(listener.getsockname()[1], file.name)
