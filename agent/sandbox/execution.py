"""One program and its tests on one worker: what is asked in which session, and what the results add up to.

A session goes on after a wrong answer and ends when the program's process does; what is left then is run in another
session, within the CPU limit of the whole run.
"""

from __future__ import annotations

import time

from agent.sandbox import compare, trace
from agent.sandbox.channel import Closed
from agent.sandbox.codec import Json
from agent.sandbox.plan import Literal, Plan, Stdio, Unit
from agent.sandbox.process import WorkerLost, WorkerProcess
from agent.sandbox.results import SKIPPED, cut, difference, literal_case, make_case, value_case
from agent.sandbox.session import Program, Session, Tally
from agent.sandbox.verdict import Case, Observed, assemble, of_fault
from memory.records import Fault, Outcome, Verdict


class Run:
    """One call of `Sandbox.run` on one worker."""

    def __init__(self, worker: WorkerProcess, program: Program, plan: Plan, run_id: str) -> None:
        self._worker = worker
        self._program = program
        self._plan = plan
        self._run_id = run_id
        self._started = time.monotonic()
        self._tally = Tally(cpu_left=program.limits.cpu_seconds * trace.SLOWDOWN)
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
            executed_lines=tuple(sorted(self._tally.lines)),
            stdout=bytes(self._tally.stdout),
            stderr=bytes(self._tally.stderr),
            seconds=time.monotonic() - self._started,
            peak_mb=self._tally.peak_mb,
        )
        cases = [case for _, numbered in sorted(self._cases.items()) for _, case in sorted(numbered.items())]
        kept = [case for case in cases if case is not SKIPPED]
        return assemble(self._run_id, kept, observed, self._load)

    async def _session(self, literals: list[Literal], units: list[Unit]) -> None:
        if self._tally.cpu_left <= 0:
            self._end_all(literals, units, *self._used_up())
            return
        with Session(self._worker, self._program, self._tally) as session:
            failure = await session.load()
            if failure is not None:
                self._load = make_case("load", *failure)
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
                self._cases[literal.index] = {0: make_case(literal.name, outcome, fault, literal.expected)}
                return
            seconds = time.monotonic() - started
            self._cases[literal.index] = {0: literal_case(literal, reply, seconds)}
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
                case = make_case(self._name(by_index[index], number), outcome, fault)
                self._cases.setdefault(index, {})[number] = case
            elif sum(len(self._cases.get(index, {})) for index in by_index) == before:
                self._end_all([], units, outcome, fault)

    def _keep(self, unit: Unit, number: int, result: dict[str, Json]) -> None:
        name = self._name(unit, number)
        seconds = float(result.get("seconds") or 0.0)
        kept = self._cases.setdefault(unit.index, {})
        outcome = result.get("outcome")
        if outcome == "passed":
            kept[number] = make_case(name, Outcome.PASSED, None, seconds=seconds)
        elif outcome == "skipped":
            kept[number] = SKIPPED
        elif outcome == "value":
            kept[number] = value_case(unit, name, result.get("value"), seconds)
        elif outcome == "runtime_error":
            ended, fault = of_fault(result.get("fault"))
            kept[number] = make_case(name, ended, fault, seconds=seconds)
        else:
            message = str(result.get("message") or "")
            expected, actual = result.get("expected"), result.get("actual")
            kind = str(result.get("type") or Outcome.FAILED_TEST.value)
            fault = Fault(type=kind, message=message or difference(name, expected, actual))
            kept[number] = make_case(name, Outcome.FAILED_TEST, fault, expected, actual, seconds=seconds)

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
            self._cases[stdio.index] = {0: make_case(name, Outcome.COMPILE_ERROR, self._load.fault)}
            return
        if self._tally.cpu_left <= 0:
            self._cases[stdio.index] = {0: make_case(name, *self._used_up())}
            return
        started = time.monotonic()
        with Session(self._worker, self._program, self._tally, stdin=test.stdin) as session:
            failure, printed = await session.run_script()
        seconds = time.monotonic() - started
        expected, actual = cut(test.stdout), cut(printed)
        if failure is not None:
            if failure[0] is Outcome.COMPILE_ERROR:
                self._load = make_case(name, *failure)
            case = make_case(name, *failure, expected, actual, seconds=seconds)
        elif compare.same_text(printed, test.stdout):
            case = make_case(name, Outcome.PASSED, None, seconds=seconds)
        else:
            fault = Fault(type=Outcome.FAILED_TEST.value, message=f"{name}: the output differs from the expected one")
            case = make_case(name, Outcome.FAILED_TEST, fault, expected, actual, seconds=seconds)
        self._cases[stdio.index] = {0: case}

    def _end_all(self, literals: list[Literal], units: list[Unit], outcome: Outcome, fault: Fault | None) -> None:
        for literal in literals:
            self._cases.setdefault(literal.index, {0: make_case(literal.name, outcome, fault, literal.expected)})
        for unit in units:
            names = self._planned.setdefault(unit.index, list(unit.cases))
            kept = self._cases.setdefault(unit.index, {})
            for number, name in enumerate(names):
                kept.setdefault(number, make_case(name, outcome, fault))

    def _used_up(self) -> tuple[Outcome, Fault]:
        limit = self._program.limits.cpu_seconds
        return Outcome.TIMEOUT, Fault(type="timeout", message=f"CPU limit of {limit:g} s per run used up; not run")
