"""What becomes of a finished refinement in both memories, after its answer was sent and in the order of the answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from agent.experience.remembering import experiences, verified
from agent.review.quality import review
from agent.select import is_solved
from memory.errors import MemoryFailure
from memory.experience import ExperienceStore, Selection
from memory.recent import Key, Recent, entries
from memory.records import Quality, Trajectory
from memory.trajectories import TrajectoryStore
from server.metrics import Metrics

_CAPACITY = 1_000
"""Trajectories that wait to be learned from; beyond that the newest is not learned from, and counted."""
_FAREWELL_S = 10.0
"""How long the end of the server waits for what is still to be learned."""

_log = logging.getLogger("burnish.memory")
_Work = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Lesson:
    """A finished trajectory, and the conversation it belongs to."""

    trajectory: Trajectory
    session: Key


class Learning:
    """One worker; a store that fails costs what was to be remembered, never an answer."""

    def __init__(self, store: ExperienceStore, recent: Recent, trajectories: TrajectoryStore, metrics: Metrics) -> None:
        self._store = store
        self._recent = recent
        self._trajectories = trajectories
        self._metrics = metrics
        self._queue: asyncio.Queue[_Work] = asyncio.Queue(_CAPACITY)
        self._worker = asyncio.create_task(self._work())

    def learn(self, lesson: Lesson) -> None:
        """Have it remembered; returns at once."""
        try:
            self._queue.put_nowait(lambda: self._learn(lesson))
        except asyncio.QueueFull:
            self._failed(f"trajectory {lesson.trajectory.id}: {_CAPACITY} wait already")

    async def withdraw(self, trajectory_id: str, tenant: str) -> int:
        """Forget what a rejected answer left, and the remembered program that it was; the number of experiences.

        Waits until what was answered before is learned. Raises MemoryFailure.
        """
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def work() -> None:
            try:
                forgotten = await self._withdraw(trajectory_id, tenant)
            except MemoryFailure as error:
                if not done.cancelled():
                    done.set_exception(error)
            else:
                if not done.cancelled():
                    done.set_result(forgotten)

        await self._queue.put(work)
        return await done

    async def aclose(self) -> None:
        """Learn what waits, for a while."""
        try:
            async with asyncio.timeout(_FAREWELL_S):
                await self._queue.join()
        except TimeoutError:
            self._failed(f"{self._queue.qsize()} trajectories were not learned from before the end")
        self._worker.cancel()
        await asyncio.gather(self._worker, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            work = await self._queue.get()
            try:
                await work()
            except MemoryFailure as error:
                self._failed(str(error))
            finally:
                self._queue.task_done()

    async def _learn(self, lesson: Lesson) -> None:
        trajectory = lesson.trajectory
        answer = verified(trajectory)
        quality = Quality()
        findings = {}
        if answer is not None and trajectory.accepted is not None:
            found = await review(trajectory.problem, answer.candidate.code)
            quality, findings = found.quality, {trajectory.accepted: (found.quality, found.findings)}
        self._recent.add([lesson.session], entries(trajectory, findings))
        kept = await asyncio.to_thread(experiences, trajectory, quality)
        if kept:
            self._metrics.experiences.inc(await self._store.add(kept))
        await self._credit(trajectory)

    async def _credit(self, trajectory: Trajectory) -> None:
        """An experience helped if an attempt that saw it, or was it, passed every test."""
        shown = {one for attempt in trajectory.attempts for one in attempt.shown}
        helped = {one for attempt in trajectory.attempts if is_solved(attempt) for one in attempt.shown}
        self._metrics.recalled.labels("true").inc(len(helped))
        self._metrics.recalled.labels("false").inc(len(shown - helped))
        for ids, good in ((helped, True), (shown - helped, False)):
            if ids:
                await self._store.credit(sorted(ids), helped=good)

    async def _withdraw(self, trajectory_id: str, tenant: str) -> int:
        forgotten = await self._store.withdraw(Selection(trajectory_id=trajectory_id, tenant=tenant))
        trajectory = await self._trajectories.get(trajectory_id, tenant)
        if trajectory is not None and trajectory.accepted is not None:
            answer = trajectory.attempts[trajectory.accepted]
            if answer.origin == "recalled":
                forgotten += await self._store.withdraw(Selection(ids=answer.shown, tenant=tenant))
        return forgotten

    def _failed(self, reason: str) -> None:
        self._metrics.memory_failures.inc()
        _log.error("not remembered: %s", reason)
