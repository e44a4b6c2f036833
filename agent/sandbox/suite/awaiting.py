"""Test code that is asynchronous: run to its end, since a test that is never awaited would pass.

Standard library only: this module runs inside the jail.
"""

from __future__ import annotations

import contextlib
import inspect
from typing import Any


class Loop:
    """The event loop of one test, made when something is awaited; `stack` closes it."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self._runner: Any = None

    def finish(self, result: Any) -> Any:
        """What a test function returned, awaited if it can be. Raises TypeError for a generator: nothing of it ran."""
        if inspect.isgenerator(result) or inspect.isasyncgen(result):
            raise TypeError("a test that yields does not run")
        return self.run(result) if inspect.isawaitable(result) else result

    def run(self, awaitable: Any) -> Any:
        """Await in the loop."""
        if self._runner is None:
            import asyncio

            self._runner = self._stack.enter_context(asyncio.Runner())

        async def awaited() -> Any:
            return await awaitable

        return self._runner.run(awaited())


class Nested:
    """Event loops for what must end before the one that runs goes on."""

    def __init__(self) -> None:
        self._idle: list[Any] = []

    def run(self, awaitable: Any) -> Any:
        """Await in a loop of its own."""
        import asyncio

        async def awaited() -> Any:
            return await awaitable

        outer = asyncio._get_running_loop()
        asyncio._set_running_loop(None)
        runner = self._idle.pop() if self._idle else asyncio.Runner()
        try:
            return runner.run(awaited())
        finally:
            self._idle.append(runner)
            asyncio._set_running_loop(outer)


def finish(result: Any) -> None:
    """`Loop.finish` with a loop for this alone."""
    if result is None:
        return
    with contextlib.ExitStack() as stack:
        Loop(stack).finish(result)
