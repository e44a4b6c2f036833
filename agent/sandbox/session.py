"""One process of the program on a worker, with a judge where test code needs one."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import hashlib
import os
import secrets
import socket
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from types import TracebackType

from agent.sandbox import testimony
from agent.sandbox.channel import Channel, Closed
from agent.sandbox.output import Output
from agent.sandbox.plan import Unit
from agent.sandbox.process import MARK_SECONDS, Exit, Order, WorkerLost, WorkerProcess
from agent.sandbox.program import trace
from agent.sandbox.program.statements import Span
from agent.sandbox.testimony import of_fault
from agent.sandbox.verdict import of_exit
from agent.sandbox.walls.template import BROKEN, FAILED
from agent.sandbox.wire.codec import Json, Malformed
from memory.records import Fault, Limits, Outcome

_SECRET = secrets.token_hex(16)
"""Makes the random numbers of tests the same for every program of this server, and unknown to each."""
_ROLE = "candidate"
_LINGER = 0.2
"""Seconds between a closed connection and the end of its process, if that is on its way."""
_JUDGE_PATIENCE = 5.0
"""Seconds that a judge may wait longer than the program, so that the one that hangs is the one that is blamed."""
_CALLS_AHEAD = 16
_CHARACTERS_AHEAD = 8192
_SCRIPTS = 1 << 21
"""Characters of test code that is told ready to run, in one message."""
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


@dataclass(frozen=True, slots=True)
class Program:
    """What is executed."""

    code: str
    prelude: str
    entry_point: str | None
    limits: Limits
    seed: int = 0
    """Of the random numbers of program and tests."""
    prelude_script: str | None = None
    """The prelude as the judge is told it."""


@dataclass(slots=True)
class Tally:
    """What the sessions of one run have used and shown so far."""

    cpu_left: float
    """Seconds."""
    executed: set[Span] = field(default_factory=set)
    """Statements."""
    peak_mb: float = 0.0
    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)


class Session:
    """One process of the program and its surroundings; leaving the `with` block kills what is left of them."""

    def __init__(self, worker: WorkerProcess, program: Program, tally: Tally, stdin: str | None = None) -> None:
        self.id = worker.open_session()
        self.nonce = secrets.token_hex(16)
        self._worker = worker
        self._program = program
        self._tally = tally
        self._stdin = stdin
        self._output = Output(program.limits.output_bytes, lambda: worker.kill(self.id))
        self._stack = contextlib.ExitStack()
        self._ended: Exit | None = None
        self._names: list[list[str]] = []
        self._statements: tuple[Span, ...] = ()
        self._judge_exit: asyncio.Future[Exit] | None = None
        self._gone = False

    def __enter__(self) -> Session:
        with contextlib.ExitStack() as stack:
            self._open(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if any(ended is not None and not ended.done() for ended in (self._exit, self._judge_exit)):
            self._worker.kill(self.id)
        self._stack.close()

    def _open(self, stack: contextlib.ExitStack) -> None:
        stack.callback(self._output.close)
        ours, theirs = socket.socketpair()
        stack.enter_context(ours)
        with theirs, _file(self._stdin or "") as stdin, self._output.ends() as pipes:
            self._trace = os.memfd_create("trace", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            stack.callback(os.close, self._trace)
            os.ftruncate(self._trace, trace.SIZE)
            fcntl.fcntl(self._trace, fcntl.F_ADD_SEALS, _SEALS)
            self._channel = Channel(ours)
            stack.callback(self._channel.close)
            cpu = min(self._tally.cpu_left, self._program.limits.cpu_seconds * trace.SLOWDOWN)
            test_cpu = self._program.limits.cpu_seconds_per_test * trace.SLOWDOWN + MARK_SECONDS
            self._order = Order(
                role=_ROLE,
                memory_mb=self._program.limits.memory_mb,
                cpu=cpu,
                wall=3 * cpu + 2,
                test_cpu=test_cpu,
                test_wall=3 * test_cpu + 2,
            )
            self._exit = self._worker.spawn(self.id, self._order, [stdin, *pipes, theirs.fileno(), self._trace])

    async def load(self, *, names: bool) -> tuple[Outcome, Fault] | None:
        """Load the program for calls, with its names for a judge; what went wrong, or None. Raises WorkerLost."""
        compiling = True
        silent = True
        try:
            await self._send_program("call", names=names)
            while True:
                message = await self._channel.receive()
                silent = False
                if compiling and message.get("stage") == "compiled":
                    compiling, self._statements = False, self._spans(message)
                elif "names" in message:
                    self._refuse_late()
                    self._names = testimony.names(message["names"])
                    return None
                elif "fault" in message:
                    return of_fault(message["fault"], compiling=compiling)
                else:
                    raise Closed("not a report of loading")
        except (Closed, Malformed):
            return await self._death_in_load(silent=silent, compiling=compiling)

    async def run_script(self) -> tuple[tuple[Outcome, Fault] | None, str]:
        """Run the program as a script to its end; what went wrong, or None, and what it printed. Raises WorkerLost."""
        with contextlib.suppress(Closed):
            await self._send_program("main", names=False)
        ended = await self.ended()
        messages = self._channel.waiting()
        compiled = next((message for message in messages if message.get("stage") == "compiled"), None)
        compiling, self._statements = compiled is None, self._spans(compiled or {})
        fault = next((message["fault"] for message in messages if "fault" in message), None)
        printed = self._output.drain()[0].decode("utf-8", "surrogateescape")
        if ended.reason is None and not self._output.overflow:
            if fault is not None:
                return of_fault(fault, compiling=compiling), printed
            if ended.status == 0:
                return None, printed
            if ended.status > 0 and messages:
                message = f"the program ended with status {ended.status}"
                return (Outcome.RUNTIME_ERROR, Fault(type="SystemExit", message=message)), printed
        return await self._death_in_load(silent=not messages, compiling=compiling), printed

    async def replies(self, calls: Sequence[str]) -> AsyncIterator[dict[str, Json]]:
        """The program's replies to calls, in their order. A few calls are sent ahead, so that neither side waits for
        the other each time. Raises Closed if a reply is missing."""
        asked: deque[int] = deque()
        for index in range(len(calls)):
            if not asked:
                self._worker.mark(self.id)
                chunk = list(_ahead(calls, index))
                asked.extend(secrets.randbits(62) for _ in chunk)
                await self._channel.send(
                    *({"id": number, "op": "eval", "a": call} for number, call in zip(asked, chunk, strict=True))
                )
            reply = await self._channel.receive()
            if reply.get("id") != asked.popleft() or ("ok" not in reply and "err" not in reply):
                raise Closed("not a reply to this call")
            self._refuse_late()
            self._worker.mark(self.id)
            yield reply

    async def start_judge(self, units: list[Unit], done: list[list[int]]) -> None:
        """Start the judge on the program's socket. Raises Closed, WorkerLost."""
        self._channel.close()
        if not self._channel.is_empty:
            raise Closed("a message that nobody asked for")
        ours, theirs = socket.socketpair()
        self._stack.enter_context(ours)
        null = os.open(os.devnull, os.O_RDWR)
        self.take()
        order = Order(
            role="judge",
            memory_mb=max(512, self._program.limits.memory_mb),
            cpu=self._order.cpu,
            wall=self._order.wall + _JUDGE_PATIENCE,
            test_cpu=self._order.test_cpu,
            test_wall=self._order.test_wall + _JUDGE_PATIENCE,
        )
        self._channel.socket.setblocking(True)
        try:
            with theirs:
                fds = [self._trace, null, null, self._channel.socket.fileno(), theirs.fileno()]
                self._judge_exit = self._worker.spawn(self.id, order, fds)
        finally:
            os.close(null)
            self._channel.socket.close()
        self._reports = Channel(ours)
        self._stack.callback(self._reports.close)
        await self._reports.send(
            {
                **self._suite(units, done),
                "prelude": self._program.prelude,
                "prelude_script": self._program.prelude_script,
                "names": self._names,
                "seed": _of_tests(self._program.seed),
            }
        )

    async def start_inside(self, units: list[Unit], done: list[list[int]]) -> None:
        """Start tests in the program's own process. Raises Closed."""
        self.take()
        self._reports = self._channel
        await self._channel.send({"id": 1, "op": "tests", "a": self._suite(units, done)})

    def _suite(self, units: list[Unit], done: list[list[int]]) -> dict[str, Json]:
        return {
            "nonce": self.nonce,
            "entry_point": self._program.entry_point,
            "statements": len(self._statements),
            "units": list(_told(units)),
            "skip": done,
        }

    async def report(self) -> dict[str, Json]:
        """Next report on the tests that were started. Raises Closed."""
        message = await self._reports.receive()
        self._gone = message.get("event") == "gone"
        self._refuse_late()
        return message

    def take(self) -> tuple[int, ...]:
        """Lines of the statements executed since the last call."""
        hits = trace.Hits(self._trace, len(self._statements))
        found = hits.read()
        if found:
            hits.clear()
        return self.lines(found)

    def lines(self, hits: Json) -> tuple[int, ...]:
        """Lines of executed statements, told by their numbers."""
        if type(hits) is not list or not hits:
            return ()
        known = range(len(self._statements))
        executed = [self._statements[hit] for hit in hits if type(hit) is int and hit in known]
        self._tally.executed.update(executed)
        return tuple(sorted({span[0] for span in executed}))

    def _refuse_late(self) -> None:
        if self._worker.overran(self.id):
            raise Closed("a message from after the limit")

    async def death(self) -> tuple[Outcome, Fault]:
        """What the end of the program's process means, or that of the judge where the tests themselves ran too long.
        Raises WorkerLost where the judge ended before its time: what it is told by a program may not do that."""
        judge = await self._end_of_judge()
        too_long = judge is not None and judge.reason not in (None, "killed")
        if not too_long:
            await asyncio.wait([self._exit], timeout=_LINGER)
        ended = await self.ended()
        if judge is not None and too_long and ended.reason in (None, "killed"):
            return of_exit(judge, self._program.limits, overflow=False, line=None)
        if ended.reason == "killed" and not self._output.overflow:
            return Outcome.RUNTIME_ERROR, Fault(
                type="ProtocolError", message="the program's process closed or broke its connection"
            )
        line = testimony.last_line(os.pread(self._trace, trace.SIZE - trace.LAST_WORDS, trace.LAST_WORDS))
        return of_exit(ended, self._program.limits, overflow=self._output.overflow, line=line)

    async def _end_of_judge(self) -> Exit | None:
        if self._judge_exit is None:
            return None
        self._worker.kill(self.id, "judge")
        judge = await self._judge_exit
        if judge.reason is None and judge.status == FAILED:
            raise WorkerLost("the judge could not be confined")
        if judge.reason is None and not self._gone and not self._worker.overran(self.id):
            raise WorkerLost(f"the judge ended before its time: status {judge.status}")
        return judge

    async def _death_in_load(self, *, silent: bool, compiling: bool) -> tuple[Outcome, Fault]:
        """What the end of a process means that has not loaded the program; if it was `silent`, it may not have got so
        far as to be confined."""
        if silent and (status := (await self.ended()).status) in (FAILED, BROKEN):
            what = "could not be confined" if status == FAILED else "ended before it was given the program"
            raise WorkerLost(f"a process {what}")
        outcome, fault = await self.death()
        if compiling and outcome is Outcome.RUNTIME_ERROR:
            return Outcome.COMPILE_ERROR, Fault(type="MemoryError", message="the compiler gave up on this program")
        return outcome, fault

    async def end(self) -> None:
        """Kill what still runs and collect what was measured. Raises WorkerLost."""
        await self.ended(None if self._judge_exit is not None else _ROLE)
        self.take()
        if self._judge_exit is not None:
            await self._judge_exit

    async def ended(self, killed: str | None = _ROLE) -> Exit:
        """Exit of the program's process; kills it if it only pretends to be gone, or every process of the session with
        None for a role. Raises WorkerLost."""
        if self._ended is None:
            if self._stdin is None:
                self._channel.close()
                self._output.rest()
                self._worker.kill(self.id, killed)
            self._ended = await self._exit
            self._collect(self._ended)
        return self._ended

    def _collect(self, ended: Exit) -> None:
        tally = self._tally
        tally.cpu_left -= ended.cpu
        tally.peak_mb = max(tally.peak_mb, ended.peak_mb)
        out, err = self._output.drain()
        tally.stdout += out
        tally.stderr += err

    def _spans(self, compiled: dict[str, Json]) -> tuple[Span, ...]:
        return testimony.spans(compiled.get("statements"), self._program.code.removeprefix("\ufeff"))

    async def _send_program(self, mode: str, *, names: bool) -> None:
        program = self._program
        await self._channel.send(
            {
                "mode": mode,
                "code": program.code,
                "prelude": program.prelude,
                "entry_point": program.entry_point,
                "seed": program.seed,
                "names": names,
            }
        )


@functools.lru_cache
def _of_tests(seed: int) -> int:
    """What the random numbers of tests are seeded with."""
    return int.from_bytes(hashlib.sha256(f"{_SECRET}{seed}".encode()).digest()[:8], "big")


def _told(units: list[Unit]) -> Iterator[dict[str, Json]]:
    left = _SCRIPTS
    for unit in units:
        left -= len(unit.script or "")
        yield {
            "index": unit.index,
            "name": unit.name,
            "runner": unit.runner,
            "source": unit.source,
            "script": unit.script if left >= 0 else None,
        }


@contextlib.contextmanager
def _file(text: str) -> Iterator[int]:
    """A descriptor to read a text from, which leaving the block closes."""
    fd = os.memfd_create("stdin", os.MFD_CLOEXEC)
    try:
        if text:
            with open(fd, "wb", closefd=False) as file:
                file.write(text.encode("utf-8", "surrogateescape"))
            os.lseek(fd, 0, os.SEEK_SET)
        yield fd
    finally:
        os.close(fd)


def _ahead(calls: Sequence[str], start: int) -> Iterator[str]:
    """The calls from `start` on that fit into a socket's buffer; at least one."""
    size = 0
    for call in islice(calls, start, start + _CALLS_AHEAD):
        size += len(call)
        if size > len(call) and size > _CHARACTERS_AHEAD:
            return
        yield call
