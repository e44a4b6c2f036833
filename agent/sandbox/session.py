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
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType

from agent.sandbox import testimony
from agent.sandbox.calls import Calls
from agent.sandbox.channel import Channel, Closed
from agent.sandbox.output import Output
from agent.sandbox.plan import Unit
from agent.sandbox.process import MARK_SECONDS, Exit, Order, WorkerLost, WorkerProcess
from agent.sandbox.program import trace
from agent.sandbox.program.statements import Span
from agent.sandbox.testimony import of_fault
from agent.sandbox.verdict import of_exit
from agent.sandbox.walls.orders import BROKEN, FAILED
from agent.sandbox.wire.codec import Json, Malformed
from memory.records import Fault, Limits, Outcome

_SECRET = secrets.token_hex(16)
"""Makes the random numbers of tests the same for every program of this server, and unknown to each."""
_ROLE = "candidate"
_LINGER = 0.2
"""Seconds until the end of a process that has closed its connection or has no more to do, if that is on its way."""
_JUDGE_PATIENCE = 5.0
"""Seconds that a judge may wait longer than the program, so that the one that hangs is the one that is blamed."""
_SCRIPTS = 1 << 21
"""Characters of test code that is told ready to run, in one message."""
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class Overtaken(Exception):
    """A limit was exceeded before the end of loading was known here: by that, or by a call that was sent ahead."""


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
        self._leaving = False
        """The program's process is about to end by itself."""

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

    async def load(self, calls: Sequence[str], *, names: bool, ends: bool, ahead: bool) -> tuple[Outcome, Fault] | None:
        """Load the program for these calls, with its names for a judge; what went wrong, or None. With `ends` it is
        over when they are answered, with `ahead` the first travel with it. Raises WorkerLost, Overtaken."""
        self._calls, self._ends = Calls(calls), ends
        compiling = True
        silent = True
        try:
            order = self._load("call", names=names, calls=len(calls) if ends else None)
            await self._channel.send(order, *(self._calls.with_program() if ahead else ()))
            while True:
                message = await self._channel.receive()
                silent = False
                if compiling and message.get("stage") == "compiled":
                    compiling, self._statements = False, self._spans(message)
                elif "names" in message:
                    self._refuse_late(Overtaken if self._calls.are_ahead else Closed)
                    self._worker.mark(self.id)
                    self._names = testimony.names(message["names"])
                    self.lines(message.get("hits"))
                    self._leaving = ends and not calls
                    return None
                elif "fault" in message:
                    self._leaving = True
                    return of_fault(message["fault"], compiling=compiling)
                else:
                    raise Closed("not a report of loading")
        except (Closed, Malformed):
            return await self._death_in_load(silent=silent, compiling=compiling)

    async def run_script(self) -> tuple[tuple[Outcome, Fault] | None, str]:
        """Run the program as a script to its end; what went wrong, or None, and what it printed. Raises WorkerLost."""
        with contextlib.suppress(Closed):
            await self._channel.send(self._load("main"))
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

    async def replies(self) -> AsyncIterator[dict[str, Json]]:
        """The replies to the calls that the program was loaded for, in their order. Raises Closed if one is missing."""
        while not self._calls.are_answered:
            if requests := self._calls.next():
                await self._channel.send(*requests)
            reply = await self._channel.receive()
            self._calls.check(reply)
            self._refuse_late()
            self._worker.mark(self.id)
            self._leaving = self._ends and self._calls.are_answered
            yield reply

    async def start_judge(self, units: list[Unit], done: list[list[int]]) -> None:
        """Start the judge on the program's socket. Raises Closed, WorkerLost."""
        self._channel.close()
        if not self._channel.is_empty:
            raise Closed("a message that nobody asked for")
        ours, theirs = socket.socketpair()
        self._stack.enter_context(ours)
        null = os.open(os.devnull, os.O_RDWR)
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
        return self.lines(trace.Hits(self._trace, len(self._statements)).take())

    def lines(self, hits: Json) -> tuple[int, ...]:
        """Lines of executed statements, told by their numbers."""
        if type(hits) is not list or not hits:
            return ()
        known = range(len(self._statements))
        executed = [self._statements[hit] for hit in hits if type(hit) is int and hit in known]
        self._tally.executed.update(executed)
        return tuple(sorted({span[0] for span in executed}))

    def _refuse_late(self, error: type[Exception] = Closed) -> None:
        if self._worker.overran(self.id):
            raise error("a message from after the limit")

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
        """Exit of the program's process; kills it, or every process of the session with None for a role, unless it is
        about to end by itself and does. Raises WorkerLost."""
        if self._ended is None:
            if self._stdin is None:
                self._channel.close()
                if self._leaving:
                    late = asyncio.get_running_loop().call_later(_LINGER, self._worker.kill, self.id, killed)
                    self._stack.callback(late.cancel)
                else:
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

    def _load(self, mode: str, *, names: bool = False, calls: int | None = None) -> dict[str, Json]:
        program = self._program
        return {
            "mode": mode,
            "code": program.code,
            "prelude": program.prelude,
            "entry_point": program.entry_point,
            "seed": program.seed,
            "names": names,
            "calls": calls,
        }


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
