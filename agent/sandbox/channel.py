"""Messages to and from the processes of a run, as frames over a socket."""

from __future__ import annotations

import asyncio
import contextlib
import socket

from agent.sandbox.wire import codec, frames
from agent.sandbox.wire.codec import Json

CHUNK = 64 * 1024
"""Bytes read at once."""


class Closed(Exception):
    """The other end of a channel closed it or sent what is no message."""


class Channel:
    """Frames over a socket, without blocking the event loop. What comes is taken at once, so that the other end need
    not wait; no more than one message of the largest size is kept. To be closed before its socket is."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.socket = connection
        self._fd = connection.fileno()
        self._buffer = bytearray()
        self._loop = asyncio.get_running_loop()
        self._reads = False
        self._ended: str | None = None
        self._waiting: asyncio.Future[None] | None = None
        self._listen()

    async def send(self, *messages: dict[str, Json]) -> None:
        """Raises Closed."""
        try:
            await self._loop.sock_sendall(self.socket, b"".join(map(frames.pack, messages)))
        except (OSError, codec.Unserialisable) as error:
            raise Closed(str(error)) from None

    async def receive(self) -> dict[str, Json]:
        """Raises Closed."""
        while (message := self._take()) is None:
            if self._ended is not None:
                raise Closed(self._ended)
            self._listen()
            self._waiting = self._loop.create_future()
            await self._waiting
        return message

    def waiting(self) -> list[dict[str, Json]]:
        """Messages that lie ready; what is no message ends the list."""
        found: list[dict[str, Json]] = []
        while self._ended is None and len(self._buffer) <= frames.MAX_BYTES and self._collect():
            pass
        with contextlib.suppress(Closed):
            while (message := self._take()) is not None:
                found.append(message)
        return found

    @property
    def is_empty(self) -> bool:
        """Whether nothing has come that was not asked for."""
        return not self._buffer

    def close(self) -> None:
        """Take nothing more."""
        if self._reads:
            self._reads = False
            self._loop.remove_reader(self._fd)

    def _listen(self) -> None:
        if not self._reads and self._ended is None:
            self._reads = True
            self._loop.add_reader(self._fd, self._collect)

    def _collect(self) -> bool:
        """Whether there was anything to take."""
        try:
            chunk = self.socket.recv(CHUNK)
        except BlockingIOError:
            return False
        except OSError as error:
            self._ended = str(error)
        else:
            self._buffer += chunk
            if not chunk:
                self._ended = "end of stream"
        if self._ended is not None or len(self._buffer) > frames.MAX_BYTES:
            self.close()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
        return True

    def _take(self) -> dict[str, Json] | None:
        size = frames.HEADER.size
        if len(self._buffer) < size:
            return None
        try:
            end = size + frames.body_size(self._buffer)
            if len(self._buffer) < end:
                return None
            body = bytes(self._buffer[size:end])
            del self._buffer[:end]
            return frames.unpack(body)
        except codec.Malformed as error:
            raise Closed(str(error)) from None
