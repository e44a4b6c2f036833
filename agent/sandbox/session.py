"""One program and its tests on one worker: starts processes, asks for results, computes what each case means.

A session is one process of the program, with a judge where test code needs one. It goes on after a wrong answer and
ends when the process does; what is left then is run in another session, within the CPU limit of the whole run.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import socket
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from agent.sandbox import codec, compare, trace
from agent.sandbox.codec import Json
from agent.sandbox.plan import Literal, Plan, Stdio, Unit
from agent.sandbox.process import Exit, Order, WorkerLost, WorkerProcess
from agent.sandbox.verdict import Case, Observed, assemble, of_exit, of_fault
from memory.records import CaseResult, Fault, Limits, Outcome, Verdict

_CHUNK = 256 * 1024
_TEXT = 500
_ROLE = "candidate"
_LINGER = 0.2
"""Seconds between a closed connection and the end of its process, if that is on its way."""
_JUDGE_PATIENCE = 5.0
"""Seconds that a judge may wait longer than the program, so that the one that hangs is the one that is blamed."""
_LINE = re.compile(rb'File "' + re.escape(trace.PROGRAM.encode()) + rb'", line (\d+)')
_COMPARE_ERRORS = (ArithmeticError, TypeError, ValueError, RecursionError, AttributeError)


@dataclass(frozen=True, slots=True)
class Program:
    """What is executed."""

    code: str
    prelude: str
    entry_point: str | None
    limits: Limits


class Closed(Exception):
    """The other end of a channel closed it or sent what is no message."""


@dataclass(frozen=True, slots=True)
class Opaque:
    """A result that is not plain data: equal to nothing."""

    type: str
    text: str
    truth: bool

    def __bool__(self) -> bool:
        return self.truth

    def __eq__(self, other: object) -> bool:
        return False

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return self.text or f"<{self.type}>"


class Channel:
    """Frames over a socket, without blocking the event loop."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.socket = connection
        self._buffer = bytearray()
        self._loop = asyncio.get_running_loop()

    async def send(self, message: dict[str, Json]) -> None:
        """Raises Closed."""
        try:
            await self._loop.sock_sendall(self.socket, codec.pack(message))
        except (OSError, codec.Unserialisable) as error:
            raise Closed(str(error)) from None

    async def receive(self) -> dict[str, Json]:
        """Raises Closed."""
        while True:
            message = self._take()
            if message is not None:
                return message
            try:
                chunk = await self._loop.sock_recv(self.socket, _CHUNK)
            except OSError as error:
                raise Closed(str(error)) from None
            if not chunk:
                raise Closed("end of stream")
            self._buffer += chunk

    def waiting(self) -> list[dict[str, Json]]:
        """Messages that lie ready; what is no message ends the list."""
        found: list[dict[str, Json]] = []
        with contextlib.suppress(OSError):
            while chunk := self.socket.recv(_CHUNK):
                self._buffer += chunk
        with contextlib.suppress(Closed):
            while (message := self._take()) is not None:
                found.append(message)
        return found

    def _take(self) -> dict[str, Json] | None:
        size = codec.HEADER.size
        if len(self._buffer) < size:
            return None
        try:
            end = size + codec.body_size(bytes(self._buffer[:size]))
            if len(self._buffer) < end:
                return None
            body = bytes(self._buffer[size:end])
            del self._buffer[:end]
            return codec.unpack(body)
        except codec.Malformed as error:
            raise Closed(str(error)) from None


@dataclass
class _Output:
    """Drains the two output pipes of a process while it runs."""

    limit: int
    data: dict[int, bytearray] = field(default_factory=dict)
    overflow: bool = False


class Run:
    """One call of `Sandbox.run` on one worker."""

    def __init__(self, worker: WorkerProcess, program: Program, plan: Plan, run_id: str) -> None:
        self._worker = worker
        self._program = program
        self._plan = plan
        self._run_id = run_id
        self._started = time.monotonic()
        self.cpu_left = program.limits.cpu_seconds * trace.SLOWDOWN
        self.lines: set[int] = set()
        self.peak_mb = 0.0
        self.stdout = bytearray()
        self.stderr = bytearray()
        self._cases: dict[int, dict[int, Case]] = {}
        self._planned: dict[int, list[str]] = {}
        self._load: Case | None = None

    async def execute(self) -> Verdict:
        """Raises WorkerLost if the worker failed; the run can then be repeated on another one."""
        literals, units = list(self._plan.literals), list(self._plan.units)
        if not (literals or units or self._plan.stdio):
            await self._session([], [])
        while literals or units:
            await self._session(literals, units)
            literals = [literal for literal in literals if literal.index not in self._cases]
            units = [unit for unit in units if not self._finished(unit)]
        for stdio in self._plan.stdio:
            await self._script(stdio)
        return self._verdict()

    def _verdict(self) -> Verdict:
        observed = Observed(
            executed_lines=tuple(sorted(self.lines)),
            stdout=bytes(self.stdout),
            stderr=bytes(self.stderr),
            seconds=time.monotonic() - self._started,
            peak_mb=self.peak_mb,
        )
        cases = [case for _, numbered in sorted(self._cases.items()) for _, case in sorted(numbered.items())]
        kept = [case for case in cases if case is not _SKIPPED]
        return assemble(self._run_id, kept, observed, self._load)

    async def _session(self, literals: list[Literal], units: list[Unit]) -> None:
        if self.cpu_left <= 0:
            self._end_all(literals, units, *self._used_up())
            return
        with Session(self._worker, self._program, self) as session:
            failure = await session.load()
            if failure is not None:
                self._load = _case("load", *failure)
                self._end_all(literals, units, *failure)
            else:
                await self._tests(session, literals, units)
            await session.end()

    async def _tests(self, session: Session, literals: list[Literal], units: list[Unit]) -> None:
        for literal in literals:
            started = time.monotonic()
            try:
                reply = await session.evaluate(literal.call)
            except Closed:
                outcome, fault = await session.death()
                self._cases[literal.index] = {0: _case(literal.name, outcome, fault, literal.expected)}
                return
            seconds = time.monotonic() - started
            self._cases[literal.index] = {0: _judged_literal(literal, reply, seconds)}
        if units:
            await self._judge(session, units)

    async def _judge(self, session: Session, units: list[Unit]) -> None:
        by_index = {unit.index: unit for unit in units}
        done = [[index, number] for index, cases in self._cases.items() for number in cases if index in by_index]
        current: tuple[int, int] | None = None
        before = len(done)
        try:
            await session.start_judge(units, done)
            while True:
                message = await session.verdict()
                event, index = message.get("event"), message.get("unit")
                if event == "done" and message.get("nonce") == session.nonce:
                    for unit in units:
                        self._close(unit)
                    return
                if event == "gone":
                    raise Closed("the program is gone")
                if index not in by_index:
                    raise WorkerLost("the judge reported an unknown unit")
                if event == "plan":
                    self._planned[index] = [str(name) for name in message["cases"]]
                elif event == "begin":
                    current = (index, int(message["case"]))
                    self._worker.mark(session.id)
                elif event == "result":
                    self._keep(by_index[index], int(message["case"]), message)
                    current = None
        except Closed:
            outcome, fault = await session.death()
            if current is not None:
                index, number = current
                case = _case(self._name(by_index[index], number), outcome, fault)
                self._cases.setdefault(index, {})[number] = case
            elif sum(len(self._cases.get(index, {})) for index in by_index) == before:
                self._end_all([], units, outcome, fault)

    def _keep(self, unit: Unit, number: int, result: dict[str, Json]) -> None:
        name = self._name(unit, number)
        seconds = float(result.get("seconds") or 0.0)
        kept = self._cases.setdefault(unit.index, {})
        outcome = result.get("outcome")
        if outcome == "passed":
            kept[number] = _case(name, Outcome.PASSED, None, seconds=seconds)
        elif outcome == "skipped":
            kept[number] = _SKIPPED
        elif outcome == "value":
            kept[number] = _judged_value(unit, name, result.get("value"), seconds)
        elif outcome == "runtime_error":
            ended, fault = of_fault(result.get("fault"))
            kept[number] = _case(name, ended, fault, seconds=seconds)
        else:
            message = str(result.get("message") or "")
            expected, actual = result.get("expected"), result.get("actual")
            kind = str(result.get("type") or Outcome.FAILED_TEST.value)
            fault = Fault(type=kind, message=message or _difference(name, expected, actual))
            kept[number] = _case(name, Outcome.FAILED_TEST, fault, expected, actual, seconds=seconds)

    def _close(self, unit: Unit) -> None:
        """A finished judge has reported every planned case; a unit without any had nothing to run."""
        kept = self._cases.setdefault(unit.index, {})
        for number in range(len(self._planned.get(unit.index, []))):
            if number not in kept:
                raise WorkerLost("the judge left a case out")

    def _name(self, unit: Unit, number: int) -> str:
        names = self._planned.get(unit.index, [])
        return names[number] if 0 <= number < len(names) else unit.name

    def _finished(self, unit: Unit) -> bool:
        kept = self._cases.get(unit.index)
        return kept is not None and len(kept) >= len(self._planned.get(unit.index, unit.cases))

    async def _script(self, stdio: Stdio) -> None:
        name, test = stdio.name, stdio.test
        if self._load is not None and self._load.result.outcome is Outcome.COMPILE_ERROR:
            self._cases[stdio.index] = {0: _case(name, Outcome.COMPILE_ERROR, self._load.fault)}
            return
        if self.cpu_left <= 0:
            self._cases[stdio.index] = {0: _case(name, *self._used_up())}
            return
        started = time.monotonic()
        with Session(self._worker, self._program, self, stdin=test.stdin) as session:
            failure, printed = await session.run_script()
        seconds = time.monotonic() - started
        expected, actual = _cut(test.stdout), _cut(printed)
        if failure is not None:
            if failure[0] is Outcome.COMPILE_ERROR:
                self._load = _case(name, *failure)
            case = _case(name, *failure, expected, actual, seconds=seconds)
        elif compare.same_text(printed, test.stdout):
            case = _case(name, Outcome.PASSED, None, seconds=seconds)
        else:
            fault = Fault(type=Outcome.FAILED_TEST.value, message=f"{name}: the output differs from the expected one")
            case = _case(name, Outcome.FAILED_TEST, fault, expected, actual, seconds=seconds)
        self._cases[stdio.index] = {0: case}

    def _end_all(self, literals: list[Literal], units: list[Unit], outcome: Outcome, fault: Fault | None) -> None:
        for literal in literals:
            self._cases.setdefault(literal.index, {0: _case(literal.name, outcome, fault, literal.expected)})
        for unit in units:
            names = self._planned.setdefault(unit.index, list(unit.cases))
            kept = self._cases.setdefault(unit.index, {})
            for number, name in enumerate(names):
                kept.setdefault(number, _case(name, outcome, fault))

    def _used_up(self) -> tuple[Outcome, Fault]:
        limit = self._program.limits.cpu_seconds
        return Outcome.TIMEOUT, Fault(type="timeout", message=f"CPU limit of {limit:g} s per run used up; not run")


class Session:
    """One process of the program and its surroundings; leaving the `with` block kills what is left of them."""

    def __init__(self, worker: WorkerProcess, program: Program, run: Run, stdin: str | None = None) -> None:
        self.id = worker.open_session()
        self.nonce = secrets.token_hex(16)
        self._worker = worker
        self._program = program
        self._run = run
        self._stdin = stdin
        self._output = _Output(program.limits.output_bytes)
        self._stack = contextlib.ExitStack()
        self._ended: Exit | None = None
        self._names: Json = []
        self._judge_exit: asyncio.Future[Exit] | None = None

    def __enter__(self) -> Session:
        with contextlib.ExitStack() as stack:
            self._open(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._ended is None:
            self._worker.kill(self.id)
        self._stack.close()

    def _open(self, stack: contextlib.ExitStack) -> None:
        ours, theirs = socket.socketpair()
        stack.enter_context(ours)
        with theirs, contextlib.ExitStack() as given:
            stdin = os.memfd_create("stdin", os.MFD_CLOEXEC)
            given.callback(os.close, stdin)
            if self._stdin:
                with open(os.dup(stdin), "wb") as file:  # noqa: PTH123
                    file.write(self._stdin.encode("utf-8", "surrogateescape"))
                os.lseek(stdin, 0, os.SEEK_SET)
            self._trace = os.memfd_create("trace", os.MFD_CLOEXEC)
            stack.callback(os.close, self._trace)
            code = self._program.code
            self._hits = code.count("\n") + code.count("\r") + 1
            os.ftruncate(self._trace, self._hits)
            pipes = [self._pipe(stack, given) for _ in range(2)]
            self._channel = Channel(ours)
            cpu = min(self._run.cpu_left, self._program.limits.cpu_seconds * trace.SLOWDOWN)
            test_cpu = self._program.limits.cpu_seconds_per_test * trace.SLOWDOWN
            self._order = Order(
                role=_ROLE,
                memory_mb=self._program.limits.memory_mb,
                cpu=cpu,
                wall=3 * cpu + 2,
                test_cpu=test_cpu,
                test_wall=3 * test_cpu + 2,
                processes=self._program.limits.processes,
            )
            self._exit = self._worker.spawn(self.id, self._order, [stdin, *pipes, theirs.fileno(), self._trace])

    def _pipe(self, stack: contextlib.ExitStack, given: contextlib.ExitStack) -> int:
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(writer, True)
        given.callback(os.close, writer)
        stack.callback(os.close, reader)
        self._output.data[reader] = bytearray()
        loop = asyncio.get_running_loop()
        loop.add_reader(reader, self._drain, reader)
        stack.callback(loop.remove_reader, reader)
        return writer

    def _drain(self, reader: int) -> None:
        while True:
            try:
                chunk = os.read(reader, _CHUNK)
            except BlockingIOError:
                return
            if not chunk:
                asyncio.get_running_loop().remove_reader(reader)
                return
            if self._output.overflow:
                continue
            self._output.data[reader] += chunk
            if sum(map(len, self._output.data.values())) > self._output.limit:
                self._output.overflow = True
                self._worker.kill(self.id)

    async def load(self) -> tuple[Outcome, Fault] | None:
        """Load the program for calls; what went wrong, or None. Raises WorkerLost."""
        compiling = True
        ready = False
        try:
            await self._send_program("call")
            while True:
                message = await self._channel.receive()
                if message.get("ready") is True:
                    ready = True
                elif message.get("stage") == "compiled":
                    compiling = False
                elif "names" in message:
                    self._names = message["names"]
                    return None
                elif "fault" in message:
                    return of_fault(message["fault"], compiling=compiling)
                else:
                    raise Closed("not a report of loading")
        except Closed:
            return await self._death_in_load(ready=ready, compiling=compiling)

    async def run_script(self) -> tuple[tuple[Outcome, Fault] | None, str]:
        """Run the program as a script to its end; what went wrong, or None, and what it printed. Raises WorkerLost."""
        with contextlib.suppress(Closed):
            await self._send_program("main")
        ended = await self.ended()
        messages = self._channel.waiting()
        ready = any(message.get("ready") is True for message in messages)
        compiling = not any(message.get("stage") == "compiled" for message in messages)
        fault = next((message["fault"] for message in messages if "fault" in message), None)
        printed = bytes(next(iter(self._output.data.values()))).decode("utf-8", "backslashreplace")
        if not ready:
            raise WorkerLost("a process could not be confined")
        if ended.reason is None and not self._output.overflow:
            if fault is not None:
                return of_fault(fault, compiling=compiling), printed
            if ended.status == 0:
                return None, printed
            if ended.status > 0:
                message = f"the program ended with status {ended.status}"
                return (Outcome.RUNTIME_ERROR, Fault(type="SystemExit", message=message)), printed
        return await self._death_in_load(ready=True, compiling=compiling), printed

    async def evaluate(self, call: str) -> dict[str, Json]:
        """The program's reply to one call. Raises Closed if it gives none."""
        self._worker.mark(self.id)
        await self._channel.send({"id": 1, "op": "eval", "a": call})
        reply = await self._channel.receive()
        if "ok" not in reply and "err" not in reply:
            raise Closed("not a reply")
        return reply

    async def start_judge(self, units: list[Unit], done: list[list[int]]) -> None:
        """Start the judge on the program's socket. Raises Closed, WorkerLost."""
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
            processes=False,
        )
        self._channel.socket.setblocking(True)
        try:
            with theirs:
                fds = [null, null, null, self._channel.socket.fileno(), theirs.fileno()]
                self._judge_exit = self._worker.spawn(self.id, order, fds)
        finally:
            os.close(null)
            self._channel.socket.close()
        self._verdict = Channel(ours)
        await self._verdict.send(
            {
                "nonce": self.nonce,
                "prelude": self._program.prelude,
                "names": self._names,
                "entry_point": self._program.entry_point,
                "units": [
                    {"index": unit.index, "name": unit.name, "runner": unit.runner, "source": unit.source}
                    for unit in units
                ],
                "skip": done,
            }
        )

    async def verdict(self) -> dict[str, Json]:
        """Next report of the judge. Raises Closed."""
        while True:
            message = await self._verdict.receive()
            if message.get("ready") is not True:
                return message

    async def death(self) -> tuple[Outcome, Fault]:
        """What the end of the program's process means, or that of the judge where the tests themselves ran too long."""
        judge: Exit | None = None
        if self._judge_exit is not None:
            self._worker.kill(self.id, "judge")
            judge = await self._judge_exit
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
        return of_exit(ended, self._program.limits, overflow=self._output.overflow, line=self._last_line())

    async def _death_in_load(self, *, ready: bool, compiling: bool) -> tuple[Outcome, Fault]:
        if not ready:
            ended = await self.ended()
            raise WorkerLost(f"a process could not be confined: status {ended.status}")
        outcome, fault = await self.death()
        if compiling and outcome is Outcome.RUNTIME_ERROR:
            return Outcome.COMPILE_ERROR, Fault(type="MemoryError", message="the compiler gave up on this program")
        return outcome, fault

    async def end(self) -> None:
        """Kill what still runs and collect what was measured. Raises WorkerLost."""
        self._worker.kill(self.id)
        await self.ended()
        if self._judge_exit is not None:
            await self._judge_exit

    async def ended(self) -> Exit:
        """Exit of the program's process; kills it if it only pretends to be gone. Raises WorkerLost."""
        if self._ended is None:
            if self._stdin is None:
                self._worker.kill(self.id, _ROLE)
            self._ended = await self._exit
            for reader in self._output.data:
                self._drain(reader)
            self._collect(self._ended)
        return self._ended

    def _collect(self, ended: Exit) -> None:
        run = self._run
        run.cpu_left -= ended.cpu
        run.peak_mb = max(run.peak_mb, ended.peak_mb)
        run.lines.update(trace.executed_lines(os.pread(self._trace, self._hits, 0)))
        out, err = self._output.data.values()
        run.stdout += out
        run.stderr += err

    def _last_line(self) -> int | None:
        found = _LINE.search(os.pread(self._trace, 65536, self._hits))
        return int(found.group(1)) if found else None

    async def _send_program(self, mode: str) -> None:
        program = self._program
        await self._channel.send(
            {"mode": mode, "code": program.code, "prelude": program.prelude, "entry_point": program.entry_point}
        )


def _judged_literal(literal: Literal, reply: dict[str, Json], seconds: float) -> Case:
    if "err" in reply:
        described: Any = reply["err"] if type(reply["err"]) is dict else {}
        if described.get("type") == "Unserialisable" and "bases" not in described:
            fault = Fault(type=Outcome.FAILED_TEST.value, message=str(described.get("message"))[:_TEXT])
            return _case(literal.name, Outcome.FAILED_TEST, fault, literal.expected, seconds=seconds)
        outcome, fault = of_fault(described)
        return _case(literal.name, outcome, fault, literal.expected, seconds=seconds)
    return _checked(literal, literal.name, reply["ok"], seconds, assertion=literal.assertion)


def _judged_value(unit: Unit, name: str, wire: Json, seconds: float) -> Case:
    return _checked(unit, name, wire, seconds, assertion=False)


def _checked(test: Literal | Unit, name: str, wire: Json, seconds: float, *, assertion: bool) -> Case:
    try:
        actual = codec.decode(wire, _opaque)
    except codec.Malformed as error:
        fault = Fault(type=Outcome.FAILED_TEST.value, message=f"not plain data: {error}"[:_TEXT])
        return _case(name, Outcome.FAILED_TEST, fault, test.expected, seconds=seconds)
    try:
        right = test.check is not None and test.check(actual)
    except _COMPARE_ERRORS:
        right = False
    if right:
        return _case(name, Outcome.PASSED, None, seconds=seconds)
    got = short(actual)
    kind = "AssertionError" if assertion else Outcome.FAILED_TEST.value
    fault = Fault(type=kind, message=_difference(name, test.expected, got))
    return _case(name, Outcome.FAILED_TEST, fault, test.expected, got, seconds=seconds)


def _opaque(wire: list[Json]) -> object:
    _, _, kind, text, truth = wire
    return Opaque(str(kind)[:200], str(text)[:_TEXT], truth is True)


def short(value: object) -> str:
    """`repr` of plain data, capped."""
    try:
        text = repr(value)
    except (ValueError, RecursionError) as error:
        text = f"<{type(value).__name__}: {error}>"
    return _cut(text)


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT else text[:_TEXT] + "..."


def _difference(name: str, expected: Json, actual: Json) -> str:
    if actual is None:
        return name
    return f"{name}: got {actual}" if expected is None else f"{name}: expected {expected}, got {actual}"


def _case(
    name: str,
    outcome: Outcome,
    fault: Fault | None,
    expected: Json = None,
    actual: Json = None,
    *,
    seconds: float = 0.0,
) -> Case:
    passed = outcome is Outcome.PASSED
    return Case(
        CaseResult(
            name=name,
            outcome=outcome,
            expected=None if passed or expected is None else str(expected),
            actual=None if passed or actual is None else str(actual),
            message=fault.message if fault else None,
            seconds=round(seconds, 6),
        ),
        fault,
    )


_SKIPPED = _case("skipped", Outcome.PASSED, None)
"""Stands where the tests left a case out; never shown."""
