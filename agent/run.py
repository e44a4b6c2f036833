"""What one refinement has done and found out so far; readable too when the graph is cancelled or out of time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from memory.records import Attempt, CallTest, Problem, Score, Totals

_TURNS = 8
"""Turns of the event loop between a verdict and the cancellation of the call that it makes needless."""


class Run:
    """Attempts, tokens and time of one refinement, with a listener for progress."""

    def __init__(self, listener: Callable[[str], None] = lambda line: None) -> None:
        self.problem: Problem | None = None
        self.attempts: list[Attempt] = []
        self.rounds = 0
        """Refine and repair rounds so far."""
        self.written: tuple[CallTest, ...] = ()
        """Tests that the model wrote itself."""
        self.scores: dict[int, Score] = {}
        """What was found out in comparing attempts, by their index."""
        self.owner = f"refine {id(self)}"
        """Whose runs these are, for the sandbox's turns."""
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self._listener = listener
        self._started = time.monotonic()
        self._busy = {"engine": 0, "sandbox": 0, "critic": 0, "memory": 0}
        self._seconds = {**dict.fromkeys(self._busy, 0.0), "any": 0.0}
        self._marked = self._started
        self._quiet = asyncio.Event()

    def spend(self, prompt: int, completion: int) -> None:
        """Count tokens as the engine makes them, finished or not."""
        self.prompt_tokens += prompt
        self.completion_tokens += completion

    async def settled(self) -> None:
        """Return when no program runs in the sandbox and what follows from the last verdict was done."""
        while True:
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            if not self._busy["sandbox"]:
                return
            self._quiet.clear()
            await self._quiet.wait()

    def tell(self, line: str) -> None:
        """Report progress to whoever waits."""
        self._listener(line)

    @contextmanager
    def busy(self, part: str) -> Iterator[None]:
        """Time spent inside counts for `part` (engine, sandbox, critic or memory); overlapping calls count once."""
        self._mark()
        self._busy[part] += 1
        try:
            yield
        finally:
            self._mark()
            self._busy[part] -= 1
            if not self._busy["sandbox"]:
                self._quiet.set()

    def totals(self) -> Totals:
        """Cost so far. Overhead is the wall time during which none of the parts was at work."""
        self._mark()
        total = self._marked - self._started
        return Totals(
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            total_seconds=total,
            engine_seconds=self._seconds["engine"],
            sandbox_seconds=self._seconds["sandbox"],
            critic_seconds=self._seconds["critic"],
            memory_seconds=self._seconds["memory"],
            overhead_seconds=total - self._seconds["any"],
        )

    def _mark(self) -> None:
        now = time.monotonic()
        elapsed, self._marked = now - self._marked, now
        for part, count in self._busy.items():
            if count:
                self._seconds[part] += elapsed
        if any(self._busy.values()):
            self._seconds["any"] += elapsed
