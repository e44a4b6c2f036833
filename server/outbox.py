"""Between the request path and the trajectory store: a store that fails never fails an answer, and loses nothing
that can still be kept."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque

from memory.errors import StoreUnavailable
from memory.records import Trajectory
from memory.trajectories import TrajectoryStore
from server.metrics import Metrics

_PATIENCE_S = 2.0
"""How long an answer waits for its trajectory to be on disk."""
_RETRY_S = 5.0
_CAPACITY = 256
"""Trajectories kept in memory while the store fails; beyond that the oldest is dropped, and said so."""

_log = logging.getLogger("burnish.store")


class Outbox:
    """Hands trajectories to the store and keeps, for a while, what the store did not take."""

    def __init__(self, store: TrajectoryStore, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics
        self._waiting: deque[Trajectory] = deque()
        self._retrying: asyncio.Task[None] | None = None

    async def put(self, trajectory: Trajectory) -> bool:
        """Store it; True if it is on disk now, False if it waits for another try."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._store.append(trajectory)
        except (StoreUnavailable, TimeoutError) as error:
            self._metrics.trajectory_failures.inc()
            _log.error("trajectory %s not stored yet: %s", trajectory.id, str(error) or "the store is slow")
            if len(self._waiting) >= _CAPACITY:
                _log.error("trajectory %s dropped: %d wait already", self._waiting.popleft().id, _CAPACITY)
            self._waiting.append(trajectory)
            if self._retrying is None or self._retrying.done():
                self._retrying = asyncio.create_task(self._retry())
            return False
        self._metrics.trajectories.labels(trajectory.status).inc()
        return True

    async def aclose(self) -> None:
        """One last try for what waits."""
        if self._retrying is not None:
            self._retrying.cancel()
            await asyncio.gather(self._retrying, return_exceptions=True)
        with contextlib.suppress(StoreUnavailable):
            await self._flush()
        for trajectory in self._waiting:
            _log.error("trajectory %s lost: the store failed until the end", trajectory.id)

    async def _retry(self) -> None:
        while self._waiting:
            await asyncio.sleep(_RETRY_S)
            with contextlib.suppress(StoreUnavailable):
                await self._flush()

    async def _flush(self) -> None:
        while self._waiting:
            await self._store.append(self._waiting[0])
            self._metrics.trajectories.labels(self._waiting.popleft().status).inc()
