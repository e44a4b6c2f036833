"""Generators and coroutines of the program as the judge's own, so that tests and `asyncio` take them for what they are.

Standard library only: this module runs inside the jail.
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from typing import Any

from agent.sandbox.judge.errors import travelling
from agent.sandbox.judge.proxy import Proxy

Running = Generator[Any, Any, Any] | Coroutine[Any, Any, Any]


def generator(proxy: Proxy) -> Generator[Any, Any, Any]:
    """A generator whose every step is one of the program's."""
    program = proxy.burnish_program
    step: tuple[Any, ...] = ("send", proxy, None)
    while True:
        try:
            shown = program.operate(*step)
        except StopIteration as end:
            return end.value
        try:
            step = ("send", proxy, (yield shown))
        except GeneratorExit:
            program.operate("close", proxy)
            raise
        except Exception as error:
            step = ("throw", proxy, *travelling(error))


async def coroutine(proxy: Proxy) -> Any:
    """A coroutine that runs the program's to its end, in the program's event loop; others go on meanwhile."""
    import asyncio

    program = proxy.burnish_program
    while True:
        is_done, result = program.operate("wait", proxy)
        if is_done:
            return result
        try:
            await asyncio.sleep(0)
        except BaseException:
            program.operate("cancel", proxy)
            raise
