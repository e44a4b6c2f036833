"""One process of a compiler, an interpreter or a compiled program on a worker."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
import socket
from dataclasses import dataclass, field
from types import TracebackType

from agent.sandbox.channel import Channel, Closed
from agent.sandbox.output import Output
from agent.sandbox.process import MARK_SECONDS, Exit, Order, WorkerLost, WorkerProcess
from agent.sandbox.walls.command import Command
from agent.sandbox.wire.codec import Json

_ROLE = "command"
_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
_LINGER = 0.2
"""Seconds between a closed connection and the end of its process, if that is on its way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """What one process may use."""

    memory_mb: int
    cpu: float
    """Seconds."""
    test_cpu: float
    """Seconds between two marks."""
    output_bytes: int


@dataclass(frozen=True, slots=True)
class Image:
    """What commands are made of: contents of a descriptor in memory. To be closed, as by leaving a `with` block."""

    fd: int = field(default_factory=lambda: os.memfd_create("image", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING))

    @classmethod
    def of(cls, *contents: bytes) -> Image:
        """One that holds `contents` one after another."""
        image = cls()
        with open(image.fd, "wb", closefd=False) as file:
            file.writelines(contents)
        return image

    def seal(self) -> None:
        """Let nobody change it any more."""
        fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, _SEALS)

    def read(self) -> bytes:
        """All that it holds."""
        return os.pread(self.fd, os.fstat(self.fd).st_size, 0)

    def close(self) -> None:
        os.close(self.fd)

    def __enter__(self) -> Image:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Ended:
    """One that has ended."""

    exit: Exit
    stdout: bytes
    stderr: bytes
    overflow: bool


class Process:
    """Started by entering the `with` block; leaving it kills what is left."""

    def __init__(
        self, worker: WorkerProcess, command: Command, image: Image, allowed: Allowed, stdin: str = ""
    ) -> None:
        self._worker = worker
        self._command = command
        self._image = image
        self._allowed = allowed
        self._stdin = stdin
        self._id = worker.open_session()
        self._output = Output(allowed.output_bytes, lambda: worker.kill(self._id))
        self._stack = contextlib.ExitStack()
        self._ended: Exit | None = None
        self._confined = False

    def __enter__(self) -> Process:
        with contextlib.ExitStack() as stack:
            self._open(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._ended is None:
            self._worker.kill(self._id)
        self._stack.close()

    def _open(self, stack: contextlib.ExitStack) -> None:
        stack.callback(self._output.close)
        ours, theirs = socket.socketpair()
        stack.enter_context(ours)
        self._channel = Channel(ours)
        stack.callback(self._channel.close)
        allowed = self._allowed
        test_cpu = allowed.test_cpu + MARK_SECONDS
        order = Order(
            role=_ROLE,
            memory_mb=allowed.memory_mb,
            cpu=allowed.cpu,
            wall=3 * allowed.cpu + 2,
            test_cpu=test_cpu,
            test_wall=3 * test_cpu + 2,
            command=self._command,
        )
        given = Image.of(self._stdin.encode("utf-8", "surrogateescape"))
        with theirs, given as stdin, self._output.ends() as pipes:
            for image in (stdin, self._image):
                os.lseek(image.fd, 0, os.SEEK_SET)
            self._exit = self._worker.spawn(self._id, order, [stdin.fd, *pipes, theirs.fileno(), self._image.fd])

    async def tell(self, message: dict[str, Json]) -> None:
        """Raises Closed."""
        await self._channel.send(message)

    async def told(self) -> dict[str, Json]:
        """The next message of the command. Raises Closed, also for one from after a limit; WorkerLost if the command
        could not be started."""
        while True:
            message = await self._channel.receive()
            if not self._ours(message):
                break
        if self._worker.overran(self._id):
            raise Closed("a message from after the limit")
        return message

    def mark(self) -> None:
        """Start the clocks of a test. Raises WorkerLost."""
        self._worker.mark(self._id)

    async def ended(self) -> Ended:
        """Wait for its end. Raises WorkerLost."""
        if self._ended is None:
            self._ended = await self._exit
            for message in self._channel.waiting():
                self._ours(message)
        if not self._confined:
            raise WorkerLost(f"a process could not be confined: status {self._ended.status}")
        return Ended(self._ended, *self._output.drain(), self._output.overflow)

    async def died(self) -> Ended:
        """The end of one whose connection is closed, which is killed if it only pretends to be gone. Raises
        WorkerLost."""
        await asyncio.wait([self._exit], timeout=_LINGER)
        return await self.killed()

    async def killed(self) -> Ended:
        """Kill it, if it still runs. Raises WorkerLost."""
        self._worker.kill(self._id)
        return await self.ended()

    def _ours(self, message: dict[str, Json]) -> bool:
        """Whether a message was made before the command was started."""
        if not self._confined and message.get("confined") is True:
            self._confined = True
            return True
        if message.get("token") == self._command.token:
            raise WorkerLost(f"a command could not be started: {message.get('failed')}")
        return False


def token() -> str:
    """A new `Command.token`."""
    return secrets.token_hex(16)
