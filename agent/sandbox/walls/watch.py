"""The clocks of jailed processes: CPU time, and a wall clock that knows how busy the machine is.

Standard library only.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

_STEP = 0.005


@dataclass(slots=True)
class Watched:
    """One process under watch; times in seconds."""

    id: int
    role: str
    pid: int
    pidfd: int
    scratch: str
    started: float
    cpu: float
    wall: float
    test_cpu: float
    test_wall: float
    mark_cpu: float = 0.0
    mark_wall: float = 0.0
    spread: bool = False
    """May run on every core."""
    reason: str | None = None
    kill_at: float | None = None
    kill_cpu: float = 0.0

    @property
    def clock(self) -> float:
        """CPU seconds used so far; 0 once the process is gone."""
        try:
            return time.clock_gettime((~self.pid << 3) | 2)
        except OSError:
            return 0.0

    def exceeded(self, used: float, now: float) -> str | None:
        """The limit that is used up, if any, after so much CPU and at this time."""
        if used - self.mark_cpu > self.test_cpu:
            return "test_cpu"
        if used > self.cpu:
            return "cpu"
        if now - self.mark_wall > self.test_wall:
            return "test_wall"
        return "wall" if now - self.started > self.wall else None


class WallClock:
    """Time as it passes."""

    def now(self) -> float:
        """Seconds; only differences mean something."""
        return time.monotonic()


class BusyClock(WallClock):
    """A wall clock that slows down while more processes want to run than there are cores.

    Where n processes share c cores, one second of it lasts n / c seconds, so that a program which computes all the
    time reaches its CPU limit first, however busy the machine is. Not for programs that start processes: those could
    make the machine busy themselves.
    """

    def __init__(self, load: int) -> None:
        """`load` is a descriptor of /proc/loadavg."""
        self._load = load
        self._cores = len(os.sched_getaffinity(0))
        self._last = time.monotonic()
        self._now = self._last

    def now(self) -> float:
        last, self._last = self._last, time.monotonic()
        elapsed = self._last - last
        if elapsed >= _STEP:
            runnable = int(os.pread(self._load, 100, 0).split()[3].split(b"/")[0])
            elapsed *= min(1.0, self._cores / max(runnable, 1))
        self._now += elapsed
        return self._now
