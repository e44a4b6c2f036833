"""One program and its tests on one worker: what is asked in which session, and what the results add up to.

A session goes on after a wrong answer and ends when the program's process does; what is left then is run in another
session, within the CPU limit of the whole run.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable

from agent.sandbox.canary import TAMPERED, Canary
from agent.sandbox.channel import Closed
from agent.sandbox.plan import Literal, Plan, Stdio, Unit
from agent.sandbox.process import WorkerLost, WorkerProcess
from agent.sandbox.program import trace
from agent.sandbox.results import cut, literal_case, make_case, printed_case, reported_case
from agent.sandbox.session import Overtaken, Program, Session, Tally
from agent.sandbox.testimony import text
from agent.sandbox.verdict import Case, Observed, assemble
from agent.sandbox.wire.codec import Json
from memory.records import Fault, Outcome, Verdict

_NAME = 200
_MOST_CASES = 10_000
_Start = Callable[[list[Unit], list[list[int]]], Awaitable[None]]


class Run:
    """One call of `Sandbox.run` on one worker."""

    def __init__(self, worker: WorkerProcess, program: Program, plan: Plan, run_id: str) -> None:
        self._worker = worker
        self._program = program
        self._plan = plan
        self._run_id = run_id
        self._started = time.monotonic()
        self._tally = Tally(cpu_left=program.limits.cpu_seconds * trace.SLOWDOWN)
        self._cases: dict[int, dict[int, Case | None]] = {}
        self._planned: dict[int, list[str]] = {}
        self._load: Case | None = None
        self._ahead = True
        """Calls may be sent before the program has been loaded."""
        self._inside = any(unit.in_process for unit in plan.units)

    async def execute(self) -> Verdict:
        """Raises WorkerLost if the worker failed; the run can then be repeated on another one."""
        literals = list(self._plan.literals)
        units = [unit for unit in self._plan.units if not unit.in_process]
        inside = [unit for unit in self._plan.units if unit.in_process]
        if not (literals or units or inside or self._plan.stdio):
            await self._session([], [])
        while literals or units:
            await self._session(literals, units)
            literals = [literal for literal in literals if literal.case not in self._cases.get(literal.index, ())]
            units = [unit for unit in units if not self._finished(unit)]
        while inside:
            await self._session([], inside)
            inside = [unit for unit in inside if not self._finished(unit)]
        for stdio in self._plan.stdio:
            await self._script(stdio)
        return self._verdict()

    def _verdict(self) -> Verdict:
        observed = Observed(
            executed=tuple(sorted(self._tally.executed)),
            stdout=bytes(self._tally.stdout),
            stderr=bytes(self._tally.stderr),
            seconds=time.monotonic() - self._started,
            peak_mb=self._tally.peak_mb,
        )
        cases = [case for _, numbered in sorted(self._cases.items()) for _, case in sorted(numbered.items())]
        kept = [case for case in cases if case is not None]
        return assemble(self._run_id, kept, observed, self._load, in_process=self._inside)

    async def _session(self, literals: list[Literal], units: list[Unit]) -> None:
        """Run what a session gets through; what it leaves has no case yet."""
        if self._tally.cpu_left <= 0:
            self._end_all(literals, units, *self._used_up())
            return
        with Session(self._worker, self._program, self._tally) as session:
            calls = [literal.call for literal in literals]
            names = any(not unit.in_process for unit in units)
            try:
                failure = await session.load(calls, names=names, ends=not units, ahead=self._ahead)
            except Overtaken:
                self._ahead = False
                await session.end()
                return
            if failure is not None:
                self._load = make_case("load", *failure)
                self._end_all(literals, units, *failure)
            else:
                await self._tests(session, literals, units)
            await session.end()

    async def _tests(self, session: Session, literals: list[Literal], units: list[Unit]) -> None:
        waiting = deque(literals)
        started = time.monotonic()
        try:
            async for reply in session.replies():
                literal, now = waiting.popleft(), time.monotonic()
                case = literal_case(literal, reply, now - started, session.lines(reply.get("hits")))
                self._cases.setdefault(literal.index, {})[literal.case] = case
                started = now
        except Closed:
            literal = waiting.popleft()
            outcome, fault = await session.death()
            died = make_case(literal.name, outcome, fault, literal.expected, lines=session.take())
            self._cases.setdefault(literal.index, {})[literal.case] = died
            return
        if units and units[0].in_process:
            await self._beside(session, units)
        elif units:
            await self._reported(session, units, session.start_judge)

    async def _beside(self, session: Session, units: list[Unit]) -> None:
        """Run units in the program's process, between canaries."""
        canaries = [Canary(-1), Canary(-2)]
        guarded = [canaries[0].unit, *units, canaries[1].unit]
        await self._reported(session, guarded, session.start_inside)
        kept = [self._cases.pop(canary.unit.index, {}) for canary in canaries]
        told = [{number: case for number, case in cases.items() if case is not None} for cases in kept]
        if any(cases and canary.died(cases) for canary, cases in zip(canaries, told, strict=True)):
            for unit in units:
                self._cases.pop(unit.index, None)
            self._end_all([], units, Outcome.RUNTIME_ERROR, TAMPERED)

    async def _reported(self, session: Session, units: list[Unit], start: _Start) -> None:
        """Run units where `start` runs them and keep what is reported."""
        by_index = {unit.index: unit for unit in units}
        done = [[index, number] for index, cases in self._cases.items() for number in cases if index in by_index]
        current: tuple[int, int] | None = None
        before = len(done)
        broken = Closed if units[0].in_process else WorkerLost
        try:
            await start(units, done)
            while True:
                message = await session.report()
                event, index = message.get("event"), message.get("unit")
                unit = by_index.get(index) if type(index) is int else None
                if event == "done" and message.get("nonce") == session.nonce:
                    for ended in units:
                        if not self._complete(ended):
                            raise broken("a case was left out")
                    return
                if event == "gone":
                    raise Closed("the program is gone")
                if unit is None:
                    raise broken("a report on an unknown unit")
                if event == "plan":
                    self._planned[unit.index] = [text(name, _NAME) for name in _list(message.get("cases"))]
                    continue
                number = message.get("case")
                if type(number) is not int or not 0 <= number < len(self._planned.get(unit.index, ())):
                    raise broken("a report on an unknown case")
                if event == "begin":
                    current = (unit.index, number)
                    self._worker.mark(session.id)
                elif event == "result":
                    lines = session.lines(message.get("hits"))
                    case = reported_case(unit, self._name(unit, number), message, lines)
                    self._cases.setdefault(unit.index, {})[number] = case
                    current = None
        except Closed:
            outcome, fault = await session.death()
            if current is not None:
                index, number = current
                case = make_case(self._name(by_index[index], number), outcome, fault, lines=session.take())
                self._cases.setdefault(index, {})[number] = case
            elif sum(len(self._cases.get(index, {})) for index in by_index) == before:
                self._end_all([], units, outcome, fault)

    def _complete(self, unit: Unit) -> bool:
        """Whether every planned case was reported; a unit without any had nothing to run."""
        kept = self._cases.setdefault(unit.index, {})
        return all(number in kept for number in range(len(self._planned.get(unit.index, []))))

    def _name(self, unit: Unit, number: int) -> str:
        names = self._planned.get(unit.index, [])
        return names[number] if 0 <= number < len(names) else unit.name

    def _finished(self, unit: Unit) -> bool:
        kept = self._cases.get(unit.index)
        return kept is not None and len(kept) >= len(self._planned.get(unit.index, unit.cases))

    async def _script(self, stdio: Stdio) -> None:
        name = stdio.name
        if self._load is not None and self._load.result.outcome is Outcome.COMPILE_ERROR:
            self._cases[stdio.index] = {0: make_case(name, Outcome.COMPILE_ERROR, self._load.fault)}
            return
        if self._tally.cpu_left <= 0:
            self._cases[stdio.index] = {0: make_case(name, *self._used_up())}
            return
        started = time.monotonic()
        with Session(self._worker, self._program, self._tally, stdin=stdio.stdin) as session:
            failure, printed = await session.run_script()
            lines = session.take()
        seconds = time.monotonic() - started
        if failure is not None:
            if failure[0] is Outcome.COMPILE_ERROR:
                self._load = make_case(name, *failure)
            expected = None if stdio.stdout is None else cut(stdio.stdout)
            case = make_case(name, *failure, expected, cut(printed), seconds=seconds, lines=lines)
        else:
            case = printed_case(stdio, printed, seconds, lines)
        self._cases[stdio.index] = {0: case}

    def _end_all(self, literals: list[Literal], units: list[Unit], outcome: Outcome, fault: Fault | None) -> None:
        for literal in literals:
            case = make_case(literal.name, outcome, fault, literal.expected)
            self._cases.setdefault(literal.index, {}).setdefault(literal.case, case)
        for unit in units:
            names = self._planned.setdefault(unit.index, list(unit.cases))
            kept = self._cases.setdefault(unit.index, {})
            for number, name in enumerate(names):
                kept.setdefault(number, make_case(name, outcome, fault))

    def _used_up(self) -> tuple[Outcome, Fault]:
        limit = self._program.limits.cpu_seconds
        return Outcome.TIMEOUT, Fault(type="timeout", message=f"CPU limit of {limit:g} s per run used up; not run")


def _list(wire: Json) -> list[Json]:
    return wire[:_MOST_CASES] if type(wire) is list else []
