"""Who gets the next free worker: those who wait take turns, so that a caller with many runs does not hold up one with
few."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """Free things of one kind and the callers that wait for one. Belongs to one event loop."""

    def __init__(self) -> None:
        self._free: list[T] = []
        self._lines: OrderedDict[str, deque[asyncio.Future[T | None]]] = OrderedDict()
        self._closed = False

    @property
    def waiting(self) -> int:
        """Callers that wait."""
        return sum(len(line) for line in self._lines.values())

    async def take(self, owner: str) -> T | None:
        """The next free thing; None once `close` was called. Of callers with the same `owner` the first comes first."""
        if self._closed:
            return None
        if self._free:
            return self._free.pop()
        waiting: asyncio.Future[T | None] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(owner, deque()).append(waiting)
        try:
            return await waiting
        except asyncio.CancelledError:
            if not waiting.cancelled() and (taken := waiting.result()) is not None:
                self.give(taken)
            raise

    def give(self, thing: T) -> None:
        """Hand a free thing to the owner whose turn it is."""
        while self._lines:
            owner, line = self._lines.popitem(last=False)
            waiting = line.popleft()
            if line:
                self._lines[owner] = line
            if not waiting.done():
                waiting.set_result(thing)
                return
        self._free.append(thing)

    def close(self) -> None:
        """Send everyone who waits away."""
        self._closed = True
        for line in self._lines.values():
            for waiting in line:
                if not waiting.done():
                    waiting.set_result(None)
        self._lines.clear()
