"""Messages to and from the processes of a run, as frames over a socket."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

from agent.sandbox.wire import codec, frames
from agent.sandbox.wire.codec import Json

CHUNK = 256 * 1024
"""Bytes read at once."""


class Closed(Exception):
    """The other end of a channel closed it or sent what is no message."""


class Channel:
    """Frames over a socket, without blocking the event loop."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.socket = connection
        self._buffer = bytearray()
        self._loop = asyncio.get_running_loop()

    async def send(self, *messages: dict[str, Json]) -> None:
        """Raises Closed."""
        try:
            await self._loop.sock_sendall(self.socket, b"".join(map(frames.pack, messages)))
        except (OSError, codec.Unserialisable) as error:
            raise Closed(str(error)) from None

    async def receive(self) -> dict[str, Json]:
        """Raises Closed."""
        while True:
            message = self._take()
            if message is not None:
                return message
            try:
                chunk = await self._loop.sock_recv(self.socket, CHUNK)
            except OSError as error:
                raise Closed(str(error)) from None
            if not chunk:
                raise Closed("end of stream")
            self._buffer += chunk

    @contextlib.contextmanager
    def collecting(self) -> Iterator[None]:
        """Take what comes meanwhile, for `waiting`, so that the other end need not wait; no more than one message of
        the largest size."""
        self._loop.add_reader(self.socket, self._collect)
        try:
            yield
        finally:
            self._loop.remove_reader(self.socket)

    def _collect(self) -> None:
        chunk = b""
        with contextlib.suppress(OSError):
            chunk = self.socket.recv(CHUNK)
        self._buffer += chunk
        if not chunk or len(self._buffer) > frames.MAX_BYTES:
            self._loop.remove_reader(self.socket)

    def waiting(self) -> list[dict[str, Json]]:
        """Messages that lie ready; what is no message ends the list."""
        found: list[dict[str, Json]] = []
        with contextlib.suppress(OSError):
            while len(self._buffer) <= frames.MAX_BYTES and (chunk := self.socket.recv(CHUNK)):
                self._buffer += chunk
        with contextlib.suppress(Closed):
            while (message := self._take()) is not None:
                found.append(message)
        return found

    def _take(self) -> dict[str, Json] | None:
        size = frames.HEADER.size
        if len(self._buffer) < size:
            return None
        try:
            end = size + frames.body_size(bytes(self._buffer[:size]))
            if len(self._buffer) < end:
                return None
            body = bytes(self._buffer[size:end])
            del self._buffer[:end]
            return frames.unpack(body)
        except codec.Malformed as error:
            raise Closed(str(error)) from None
