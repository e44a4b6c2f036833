"""One program in another language than Python, and its tests, on one worker.

As with Python, a session goes on after a wrong answer and ends with the program's process; the calls that are left
then are made in another one, within the CPU limit of the whole run. What the program's process sends is a returned
value and nothing else: expectations stay here.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import replace

from agent.sandbox.channel import Closed
from agent.sandbox.native import values
from agent.sandbox.native.plan import Call, Plan
from agent.sandbox.native.process import Allowed, Ended, Process
from agent.sandbox.native.runtime import Artifact, Refused, Runtime, Source
from agent.sandbox.plan import Stdio
from agent.sandbox.process import WorkerProcess
from agent.sandbox.results import cut, difference, make_case, printed_case
from agent.sandbox.testimony import text
from agent.sandbox.verdict import Case, Observed, assemble, of_exit
from agent.sandbox.wire.codec import Json, Malformed
from memory.records import Fault, Outcome, Verdict

_Failure = tuple[Outcome, Fault]
_TEXT = 500
_EXITED = "SystemExit"
_EXTRA = Fault(type="ProtocolError", message="the program's process sent what was not asked for, or closed its end")


class NativeRun:
    """One call of `Sandbox.run` on one worker."""

    def __init__(self, worker: WorkerProcess, runtime: Runtime, source: Source, plan: Plan, run_id: str) -> None:
        self._worker = worker
        self._runtime = runtime
        self._source = source
        self._plan = plan
        self._run_id = run_id
        self._started = time.monotonic()
        self._cpu_left = source.limits.cpu_seconds
        self._peak_mb = 0.0
        self._stdout = bytearray()
        self._stderr = bytearray()
        self._cases: dict[int, Case] = {}
        self._load: Case | None = None

    async def execute(self) -> Verdict:
        """Raises WorkerLost if the worker failed; the run can then be repeated on another one."""
        try:
            if self._plan.calls or not self._plan.stdio:
                await self._answer()
            if self._plan.stdio:
                await self._print()
        except Refused as refused:
            self._refuse(refused.fault)
        observed = Observed(
            stdout=bytes(self._stdout),
            stderr=bytes(self._stderr),
            seconds=time.monotonic() - self._started,
            peak_mb=self._peak_mb,
        )
        return assemble(self._run_id, [case for _, case in sorted(self._cases.items())], observed, self._load)

    def _refuse(self, fault: Fault) -> None:
        """Nothing that is left can run: the program does not compile."""
        self._load = make_case("load", Outcome.COMPILE_ERROR, fault)
        self._end_calls(self._plan.calls, Outcome.COMPILE_ERROR, fault)
        for stdio in self._plan.stdio:
            self._cases.setdefault(stdio.index, make_case(stdio.name, Outcome.COMPILE_ERROR, fault))

    def _end_calls(self, calls: Sequence[Call], outcome: Outcome, fault: Fault) -> None:
        for call in calls:
            self._cases.setdefault(call.index, make_case(call.name, outcome, fault, call.expected))

    async def _answer(self) -> None:
        """Make the calls. Raises Refused, WorkerLost."""
        calls = self._plan.calls
        artifact = await self._runtime.answering(self._worker, self._source, [call.call for call in calls])
        with artifact.image:
            for place, fault in artifact.refused.items():
                self._end_calls([calls[place]], Outcome.COMPILE_ERROR, fault)
            while True:
                left = [place for place, call in enumerate(calls) if call.index not in self._cases]
                if self._cpu_left <= 0:
                    self._end_calls(calls, *self._used_up())
                    return
                if left or not calls:
                    await self._session(artifact, left)
                if not left or not calls:
                    return

    async def _session(self, artifact: Artifact, left: Sequence[int]) -> None:
        """Make the calls at the places `left` until the process ends."""
        with Process(self._worker, artifact.command, artifact.image, self._allowed(artifact)) as process:
            failure = await self._loaded(process, artifact)
            if failure is not None:
                if failure[0] is Outcome.COMPILE_ERROR:
                    raise Refused(failure[1])
                self._load = make_case("load", *failure)
                self._end_calls(self._plan.calls, *failure)
                return
            case: Case | None = None
            for place in left:
                call = self._plan.calls[place]
                try:
                    case = await self._called(process, call, artifact.orders[place])
                except Closed:
                    case = make_case(call.name, *await self._death(process), call.expected)
                    self._cases[call.index] = case
                    return
                self._cases[call.index] = case
            if not await self._finished(process):
                outcome, fault = await self._death(process)
                if case is None:
                    self._load = make_case("load", outcome, fault)
                elif case.result.outcome is Outcome.PASSED:
                    call = self._plan.calls[left[-1]]
                    self._cases[call.index] = make_case(call.name, outcome, fault, call.expected)
                return
            self._collect(await process.killed())

    async def _loaded(self, process: Process, artifact: Artifact) -> _Failure | None:
        """What went wrong before the first call, or None."""
        try:
            if artifact.greeting is not None:
                await process.tell(artifact.greeting)
            message = await process.told()
        except Closed:
            return await self._death(process)
        if message.get("loaded") is True:
            return None
        self._collect(await process.killed())
        if "fault" not in message:
            return Outcome.RUNTIME_ERROR, _EXTRA
        return self._runtime.thrown(message["fault"], self._source, compiling=True)

    async def _called(self, process: Process, call: Call, order: Json) -> Case:
        """The case that the reply to a call makes. Raises Closed if there is none."""
        started = time.monotonic()
        identity = secrets.token_hex(16)
        process.mark()
        await process.tell({"id": identity, "call": order})
        reply = await process.told()
        if reply.get("id") != identity:
            raise Closed("not a reply to this call")
        seconds = time.monotonic() - started
        if "err" in reply:
            return self._raised(call, reply["err"], seconds)
        if "ok" not in reply:
            raise Closed("not a reply")
        try:
            actual = values.decode(reply["ok"])
        except Malformed as error:
            raise Closed(str(error)) from None
        if values.same(actual, call.value):
            return make_case(call.name, Outcome.PASSED, None, seconds=seconds)
        got = cut(values.shown(actual))
        fault = Fault(type=Outcome.FAILED_TEST.value, message=difference(call.name, call.expected, got))
        return make_case(call.name, Outcome.FAILED_TEST, fault, call.expected, got, seconds=seconds)

    def _raised(self, call: Call, told: Json, seconds: float) -> Case:
        if type(told) is dict and told.get("type") == "Unserialisable" and "stack" not in told:
            fault = Fault(type=Outcome.FAILED_TEST.value, message=text(told.get("message"), _TEXT))
            return make_case(call.name, Outcome.FAILED_TEST, fault, call.expected, seconds=seconds)
        return make_case(call.name, *self._runtime.thrown(told, self._source), call.expected, seconds=seconds)

    async def _finished(self, process: Process) -> bool:
        """Whether the process has nothing more to say than that it has nothing more to say."""
        identity = secrets.token_hex(16)
        try:
            await process.tell({"id": identity, "end": True})
            reply = await process.told()
        except Closed:
            return False
        return reply == {"id": identity, "end": True}

    async def _print(self) -> None:
        """Run the program on standard input. Raises Refused, WorkerLost."""
        artifact = await self._runtime.script(self._worker, self._source)
        with artifact.image:
            for stdio in self._plan.stdio:
                if self._cpu_left <= 0:
                    self._cases[stdio.index] = make_case(stdio.name, *self._used_up())
                else:
                    await self._script(artifact, stdio)

    async def _script(self, artifact: Artifact, stdio: Stdio) -> None:
        started = time.monotonic()
        name = stdio.name
        with Process(self._worker, artifact.command, artifact.image, self._allowed(artifact), stdio.stdin) as process:
            ended = await process.ended()
        self._collect(ended)
        seconds = time.monotonic() - started
        printed = ended.stdout.decode("utf-8", "surrogateescape")
        if ended.exit.status != 0 or ended.exit.reason is not None or ended.overflow:
            outcome, fault = self._why(ended)
            if fault.type == _EXITED:
                fault = replace(fault, message=f"the program ended with status {ended.exit.status}")
            if outcome is Outcome.COMPILE_ERROR:
                raise Refused(fault)
            expected = None if stdio.stdout is None else cut(stdio.stdout)
            self._cases[stdio.index] = make_case(name, outcome, fault, expected, cut(printed), seconds=seconds)
        else:
            self._cases[stdio.index] = printed_case(stdio, printed, seconds)

    async def _death(self, process: Process) -> _Failure:
        ended = await process.died()
        self._collect(ended)
        if ended.exit.reason == "killed" and not ended.overflow:
            return Outcome.RUNTIME_ERROR, _EXTRA
        return self._why(ended)

    def _why(self, ended: Ended) -> _Failure:
        """What the end of a process means."""
        limits = self._source.limits
        if ended.exit.reason in (None, "killed") and not ended.overflow:
            explained = self._runtime.explain(ended, self._source)
            if explained is not None:
                return explained
        return of_exit(ended.exit, limits, overflow=ended.overflow, line=None)

    def _collect(self, ended: Ended) -> None:
        self._cpu_left -= ended.exit.cpu
        self._peak_mb = max(self._peak_mb, ended.exit.peak_mb)
        self._stdout += ended.stdout
        self._stderr += ended.stderr

    def _allowed(self, artifact: Artifact) -> Allowed:
        limits = self._source.limits
        cpu = min(self._cpu_left, limits.cpu_seconds)
        return Allowed(
            memory_mb=artifact.memory_mb,
            cpu=cpu,
            test_cpu=limits.cpu_seconds_per_test,
            output_bytes=limits.output_bytes,
        )

    def _used_up(self) -> _Failure:
        limit = self._source.limits.cpu_seconds
        return Outcome.TIMEOUT, Fault(type="timeout", message=f"CPU limit of {limit:g} s per run used up; not run")
