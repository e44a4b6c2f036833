"""What one refinement has done so far. It stays readable when the graph is cancelled or the deadline ends it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from memory.records import Attempt, Problem, Totals


class Run:
    """Attempts, tokens and time of one refinement, with a listener for progress."""

    def __init__(self, listener: Callable[[str], None] = lambda line: None) -> None:
        self.problem: Problem | None = None
        self.attempts: list[Attempt] = []
        self.rounds = 0
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self._listener = listener
        self._started = time.monotonic()
        self._busy = {"engine": 0, "sandbox": 0}
        self._seconds = {"engine": 0.0, "sandbox": 0.0, "any": 0.0}
        self._marked = self._started

    def spend(self, prompt: int, completion: int) -> None:
        """Count tokens as the engine makes them, finished or not."""
        self.prompt_tokens += prompt
        self.completion_tokens += completion

    def tell(self, line: str) -> None:
        """Report progress to whoever waits."""
        self._listener(line)

    @contextmanager
    def busy(self, part: str) -> Iterator[None]:
        """Time spent inside counts for `part` (`engine` or `sandbox`); overlapping calls count once."""
        self._mark()
        self._busy[part] += 1
        try:
            yield
        finally:
            self._mark()
            self._busy[part] -= 1

    def totals(self) -> Totals:
        """Cost so far. Overhead is the wall time during which neither engine nor sandbox was at work."""
        self._mark()
        total = self._marked - self._started
        return Totals(
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            total_seconds=total,
            engine_seconds=self._seconds["engine"],
            sandbox_seconds=self._seconds["sandbox"],
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
