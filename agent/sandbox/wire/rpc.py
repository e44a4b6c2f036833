"""Calls in both directions over a connected socket, one at a time, with plain data and references.

A request is `{"id", "op", "a": encoded arguments}`, a reply `{"id", "ok": encoded result}` or `{"id", "err": fault}`.
While a side waits for a reply it answers requests, so a function passed as an argument can be called back. Standard
library only: both ends run inside the jail.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from typing import Protocol

from agent.sandbox.wire import codec, frames
from agent.sandbox.wire.codec import Json


class Gone(BaseException):
    """The other side closed the socket or broke the protocol. Not an Exception: no test code may swallow it."""


class Remote(Exception):
    """The other side raised; `fault` is what it told."""

    def __init__(self, fault: dict[str, Json]) -> None:
        super().__init__(str(fault.get("message", "")))
        self.fault = fault


Answer = Callable[[str, Json], dict[str, Json]]
"""From an operation and its encoded arguments to the reply, without its id."""


class Connection(Protocol):
    """What asks the other side."""

    def request(self, op: str, arguments: Json) -> dict[str, Json]:
        """See `Peer.request`."""


class Peer:
    """One end of the socket, given as a descriptor."""

    def __init__(self, fd: int, answer: Answer, unsent: Callable[[], None] = lambda: None) -> None:
        """`unsent` is called when a message cannot be sent since it is too large."""
        self._fd = fd
        self._answer = answer
        self._unsent = unsent
        self._buffer = b""

    def request(self, op: str, arguments: Json) -> dict[str, Json]:
        """The reply to `op`; its number is one that the other side cannot know before. Raises Remote if the other side
        raised, Gone if there will be no reply."""
        number = int.from_bytes(os.urandom(7), "big")
        self.send({"id": number, "op": op, "a": arguments})
        while True:
            message = self.receive()
            if "op" in message:
                self.answer(message)
            elif message.get("id") != number:
                raise Gone("a reply to another request")
            elif "err" in message:
                raise Remote(message["err"] if type(message["err"]) is dict else {})
            else:
                return message

    def serve(self, requests: int | None = None) -> None:
        """Answer so many requests, or all until the other side closes. Raises Gone then."""
        for _ in itertools.count() if requests is None else range(requests):
            self.answer(self.receive())

    def answer(self, message: dict[str, Json]) -> None:
        reply = self._answer(str(message.get("op")), message.get("a"))
        try:
            self.send({"id": message.get("id"), **reply})
        except codec.Unserialisable as error:
            self.send({"id": message.get("id"), "err": {"type": "Unserialisable", "message": str(error)}})
        except MemoryError:
            self.send({"id": message.get("id"), "err": {"type": "MemoryError", "memory": True}})

    def send(self, message: dict[str, Json]) -> None:
        try:
            frame = frames.pack(message)
        except (codec.Unserialisable, MemoryError):
            self._unsent()
            raise
        self.write(frame)

    def write(self, frame: bytes) -> None:
        """Send what `frames.pack` made. Raises Gone."""
        try:
            sent = os.write(self._fd, frame)
            while sent < len(frame):
                sent += os.write(self._fd, memoryview(frame)[sent:])
        except OSError as error:
            raise Gone(str(error)) from None

    def receive(self) -> dict[str, Json]:
        header = self._take(frames.HEADER.size)
        try:
            return frames.unpack(self._take(frames.body_size(header)))
        except codec.Malformed as error:
            raise Gone(str(error)) from None

    def _take(self, size: int) -> bytes:
        if len(self._buffer) < size:
            self._fill(size)
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def _fill(self, size: int) -> None:
        parts = [self._buffer]
        missing = size - len(self._buffer)
        while missing > 0:
            try:
                chunk = os.read(self._fd, max(8192, missing))
            except OSError as error:
                raise Gone(str(error)) from None
            if not chunk:
                raise Gone("the other side closed the connection")
            parts.append(chunk)
            missing -= len(chunk)
        self._buffer = b"".join(parts)
