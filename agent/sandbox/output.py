"""What a jailed process prints, drained while it runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator

from agent.sandbox.channel import CHUNK

_SOON = 0.01
"""Seconds. Most processes end before, and what they print fits into the pipes."""


class Output:
    """The pipes of standard output and error, in this order. Belongs to one event loop."""

    def __init__(self, limit: int, on_overflow: Callable[[], None]) -> None:
        """`on_overflow` is called once, when both together exceed `limit` bytes; what comes after that is dropped."""
        self._limit = limit
        self._on_overflow = on_overflow
        self._loop = asyncio.get_running_loop()
        self._data: dict[int, bytearray] = {}
        self._listening: set[int] = set()
        self._start = self._loop.call_later(_SOON, self._listen)
        self.overflow = False

    @contextlib.contextmanager
    def ends(self) -> Iterator[list[int]]:
        """Makes the pipes: their ends for the process, which leaving the block closes."""
        writers: list[int] = []
        try:
            for _ in range(2):
                reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
                self._data[reader] = bytearray()
                writers.append(writer)
                os.set_blocking(writer, True)
            yield writers
        finally:
            for writer in writers:
                os.close(writer)

    def close(self) -> None:
        """Close the other ends."""
        self.rest()
        for reader in self._data:
            os.close(reader)

    def rest(self) -> None:
        """Leave what comes to `drain`: for a process that is about to be killed."""
        self._start.cancel()
        for reader in self._data:
            self._leave(reader)

    def drain(self) -> tuple[bytes, bytes]:
        """Read what lies ready; all that was printed so far."""
        for reader in self._data:
            self._drain(reader)
        stdout, stderr = map(bytes, self._data.values())
        return stdout, stderr

    def _listen(self) -> None:
        for reader in self._data:
            self._loop.add_reader(reader, self._drain, reader)
            self._listening.add(reader)

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
