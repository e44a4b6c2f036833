"""What a jailed process prints, drained while it runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable

from agent.sandbox.channel import CHUNK


class Output:
    """The pipes of standard output and error, in this order. Belongs to one event loop."""

    def __init__(self, limit: int, on_overflow: Callable[[], None]) -> None:
        """`on_overflow` is called once, when both together exceed `limit` bytes; what comes after that is dropped."""
        self._limit = limit
        self._on_overflow = on_overflow
        self._loop = asyncio.get_running_loop()
        self._data: dict[int, bytearray] = {}
        self._listening: set[int] = set()
        self.overflow = False

    def pipe(self, stack: contextlib.ExitStack, given: contextlib.ExitStack) -> int:
        """A new pipe: the end for the process, closed by `given`; `stack` closes the other."""
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(writer, True)
        given.callback(os.close, writer)
        stack.callback(os.close, reader)
        self._data[reader] = bytearray()
        self._loop.add_reader(reader, self._drain, reader)
        self._listening.add(reader)
        stack.callback(self._leave, reader)
        return writer

    def rest(self) -> None:
        """Leave what comes to `drain`: for a process that is about to be killed."""
        for reader in self._data:
            self._leave(reader)

    def drain(self) -> tuple[bytes, bytes]:
        """Read what lies ready; all that was printed so far."""
        for reader in self._data:
            self._drain(reader)
        stdout, stderr = map(bytes, self._data.values())
        return stdout, stderr

    def _drain(self, reader: int) -> None:
        while True:
            try:
                chunk = os.read(reader, CHUNK)
            except BlockingIOError:
                return
            if not chunk:
                self._leave(reader)
                return
            if self.overflow:
                continue
            self._data[reader] += chunk
            if sum(map(len, self._data.values())) > self._limit:
                self.overflow = True
                self._on_overflow()

    def _leave(self, reader: int) -> None:
        if reader in self._listening:
            self._listening.remove(reader)
            self._loop.remove_reader(reader)
