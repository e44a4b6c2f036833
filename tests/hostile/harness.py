"""Runs programs of the corpus on a sandbox and tells what is not as it must be."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import platform
import secrets
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from agent.sandbox.contract import Sandbox
from agent.sandbox.pool import WorkerPool
from agent.sandbox.verdict import sandbox_error
from memory.records import CallTest, CodeTest, Limits, Outcome, Test, Verdict
from tests.hostile.corpus import Batch, Program
from tests.hostile.host import Host, is_alive, processes_below
from tests.hostile.tiers import Tier

LANES = 4
"""Programs under way at once, each on a pool of one worker: what comes next meets the worker that it was run on."""
_SLACK = 4.0
"""Seconds that a run may take beyond its clocks."""
_SAMPLE_SECONDS = 0.02
_START_SECONDS = 1.0
"""A program is under way after so many seconds, and gone as many after the end of its worker."""
_STRETCH = 2.5
"""Upper bound of what the sandbox multiplies CPU limits with."""
_CAPTURED = 70_000
"""Characters of output that a verdict may hold."""
_HONEST_LIMITS = Limits(cpu_seconds_per_test=5.0, cpu_seconds=10.0)


class WrongTier(Exception):
    """The sandbox runs on another tier than it was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What became of one program."""

    section: str
    number: int
    title: str
    outcomes: tuple[str, ...]
    """One per run, each with the name of its tests."""
    problems: tuple[str, ...]
    """What is not as it must be."""
    skipped: str
    """Why the program was not run; empty if it was."""
    seconds: float


async def run(programs: Sequence[Program], tier: Tier, told: Callable[[Finding], None]) -> list[Finding]:
    """Run `programs` on pools of `tier`; `told` hears of each finding at once. Raises IsolationUnavailable, and
    WrongTier if the sandbox says that it is of another tier."""
    found: list[Finding] = []

    async def work(lane: _Lane, waiting: list[Program]) -> None:
        while waiting:
            found.append(await lane.finding(waiting.pop()))
            told(found[-1])

    descriptors = _descriptors()
    async with contextlib.AsyncExitStack() as stack:
        host = stack.enter_context(Host())
        pace = await stack.enter_async_context(_Pace())
        lanes: list[_Lane] = []
        for _ in range(min(LANES, len(programs))):
            pool = await WorkerPool.start(tier.settings.model_copy(update={"workers": 1}))
            lanes.append(_Lane(await stack.enter_async_context(pool), tier, host, pace))
            if pool.isolation.tier != tier.reported:
                raise WrongTier(f"asked for tier {tier.reported}, got {pool.isolation.tier}")
        together = [program for program in reversed(programs) if not program.alone]
        await asyncio.gather(*(work(lane, together) for lane in lanes))
        await work(lanes[0], [program for program in reversed(programs) if program.alone])
    return [_whole(descriptors), *sorted(found, key=lambda finding: finding.number)]


def _whole(descriptors: int) -> Finding:
    """What the corpus as a whole has left behind in this process, which had so many `descriptors` before."""
    left = processes_below(os.getpid())
    problems = [f"processes are left: {sorted(left)}"] if left else []
    if _descriptors() > descriptors:
        problems.append(f"{_descriptors() - descriptors} descriptors are left open")
    return Finding(
        section="",
        number=0,
        title="after all programs",
        outcomes=(),
        problems=tuple(problems),
        skipped="",
        seconds=0.0,
    )


def _descriptors() -> int:
    """Open file descriptors of this process."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


class _Pace:
    """Time as the sandbox's wall clock may count it: where n processes want to run on c cores, a second counts c / n.
    A context manager."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._cores = len(os.sched_getaffinity(0))

    async def __aenter__(self) -> _Pace:
        self._counting = asyncio.create_task(self._count())
        return self

    async def __aexit__(self, *details: object) -> None:
        self._counting.cancel()

    async def _count(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(_SAMPLE_SECONDS)
            last, before = time.monotonic(), last
            self.seconds += (last - before) * min(1.0, self._cores / max(_runnable(), 1))


class _Lane:
    def __init__(self, pool: WorkerPool, tier: Tier, host: Host, pace: _Pace) -> None:
        self._pool = pool
        self._tier = tier
        self._host = host
        self._pace = pace
        self._has: dict[str, bool] = {}

    async def finding(self, program: Program) -> Finding:
        started = time.monotonic()
        skipped = self._tier.reason_against(program.exempt, starts_processes=program.limits.processes)
        skipped = skipped or await self._lack(program.needs)
        outcomes: list[str] = []
        problems: list[str] = []
        if not skipped:
            before = self._workers()
            for batch in program.batches:
                verdict, complaints = await self._batch(program, batch)
                outcomes.append(f"{batch.name} {verdict.outcome}")
                problems += [f"{batch.name}: {complaint}" for complaint in complaints]
            problems += await self._afterwards(program, before)
        return Finding(
            section=program.section,
            number=program.number,
            title=program.title,
            outcomes=tuple(outcomes),
            problems=tuple(problems),
            skipped=skipped,
            seconds=time.monotonic() - started,
        )

    async def _lack(self, needs: Sequence[str]) -> str:
        for name in needs:
            if name in ("x86_64", "aarch64"):
                if platform.machine() != name:
                    return f"{name} only"
                continue
            if name not in self._has:
                verdict = await self._pool.run(f"import {name}", [], limits=_HONEST_LIMITS)
                self._has[name] = verdict.outcome is Outcome.PASSED
            if not self._has[name]:
                return f"the sandbox has no {name}"
        return ""

    async def _batch(self, program: Program, batch: Batch) -> tuple[Verdict, list[str]]:
        if program.loses_worker:
            return await self._orphaned(program, batch)
        if program.at_once > 1:
            wide = self._tier.settings.model_copy(update={"workers": program.at_once})
            async with await WorkerPool.start(wide) as pool:
                runs = (self._one(pool, program, batch) for _ in range(program.at_once))
                results = await asyncio.gather(*runs)
        else:
            results = [await self._one(self._pool, program, batch) for _ in range(program.same)]
        verdict = results[0][0]
        complaints = [complaint for _, said in results for complaint in said]
        if len({tuple(case.outcome for case in made.cases) for made, _ in results}) > 1:
            complaints.append("the same program was judged differently")
        return verdict, complaints

    async def _orphaned(self, program: Program, batch: Batch) -> tuple[Verdict, list[str]]:
        """Run a program and kill its worker meanwhile."""
        alone = self._tier.settings.model_copy(update={"workers": 1})
        async with await WorkerPool.start(alone) as pool:
            (worker,) = pool._crew.workers
            idle = processes_below(worker.pid)
            running = asyncio.create_task(self._one(pool, program, batch))
            await asyncio.sleep(_START_SECONDS)
            below = processes_below(worker.pid)
            folders = {_working_folder(pid) for pid in below - idle}
            os.kill(worker.pid, signal.SIGKILL)
            await asyncio.sleep(_START_SECONDS)
            left = {pid for pid in below if is_alive(pid)}
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            verdict, complaints = await running
        if below == idle:
            complaints.append("the program was not seen while it ran")
        if left:
            complaints.append(f"processes have outlived their worker: {sorted(left)}")
        complaints += [f"{folder} has outlived its worker" for folder in sorted(folders) if _is_private(folder)]
        return verdict, complaints

    async def _one(self, pool: Sandbox, program: Program, batch: Batch) -> tuple[Verdict, list[str]]:
        run_id = secrets.token_hex(8)
        code = self._informed(program.code)
        began = self._pace.seconds
        try:
            verdict = await pool.run(
                code,
                batch.tests,
                entry_point=program.entry_point,
                prelude=f"{program.prelude}\n__import__('sys').stderr.write('run {run_id}\\n')\n",
                limits=program.limits,
                run_id=run_id,
            )
        except Exception as error:
            return sandbox_error(run_id, "it raised"), [f"the sandbox raised {type(error).__name__}: {error}"[:500]]
        counted = self._pace.seconds - began
        return verdict, list(self._complaints(program, batch, code, run_id, verdict, counted))

    def _informed(self, code: str) -> str:
        for word, fact in self._host.facts.items():
            code = code.replace(f"@{word}@", fact)
        return code

    def _complaints(
        self, program: Program, batch: Batch, code: str, run_id: str, verdict: Verdict, counted: float
    ) -> Iterator[str]:
        """What is wrong with a verdict that took so many `counted` seconds (`_Pace`)."""
        said = f" ({verdict.error.type}: {verdict.error.message[:200]})" if verdict.error else ""
        if verdict.outcome not in program.outcomes:
            yield f"{verdict.outcome} instead of {' or '.join(sorted(program.outcomes))}{said}"
        if Outcome.PASSED not in program.outcomes and verdict.passed and not program.partly:
            yield f"passed {[case.name for case in verdict.cases if case.outcome is Outcome.PASSED]}"
        if verdict.id != run_id:
            yield f"the verdict is that of run {verdict.id}"
        foreign = [line for line in verdict.stderr.splitlines() if line.startswith("run ") and line != f"run {run_id}"]
        if foreign:
            yield f"the output is that of another run: {foreign}"
        lines = code.count("\n") + code.count("\r") + 1
        if not all(1 <= line <= lines for line in verdict.executed_lines):
            yield "executed lines that the program does not have"
        if batch.tests and not verdict.cases:
            yield "no cases"
        if max(len(verdict.stdout), len(verdict.stderr)) > _CAPTURED:
            yield "more output was kept than is shown"
        try:
            json.dumps(asdict(verdict), ensure_ascii=False).encode()
        except ValueError as error:
            yield f"the verdict cannot be written: {error}"[:300]
        if self._host.secret in repr(verdict):
            yield "the host's secret is in the verdict"
        allowed = (3 * _STRETCH * program.limits.cpu_seconds + 2) * max(1, len(verdict.cases)) + _SLACK
        if min(verdict.seconds, counted) > allowed:
            yield f"took {verdict.seconds:.1f} s ({counted:.1f} s by load) where {allowed:.1f} s are allowed"
        if program.reports and verdict.outcome is Outcome.PASSED:
            yield from _done(verdict)

    async def _afterwards(self, program: Program, before: set[int]) -> list[str]:
        """Whether the worker is as before, and the host, and an honest program gets its own answer."""
        problems: list[str] = []
        if program.then:
            then = replace(
                program, code=program.then, outcomes=frozenset({Outcome.PASSED}), reports=True, limits=_HONEST_LIMITS
            )
            _, complaints = await self._one(self._pool, then, Batch(name="then", tests=()))
            problems += [f"next run: {complaint}" for complaint in complaints]
        problems += await _honest(self._pool)
        problems += self._host.complaints()
        left = self._workers()
        if left != before:
            problems.append(f"processes of the sandbox were {sorted(before)} and are {sorted(left)}")
        return problems

    def _workers(self) -> set[int]:
        """The processes of this lane's worker; between runs these are the worker itself."""
        own = {worker.pid for worker in self._pool._crew.workers}
        return own.union(*(processes_below(pid) for pid in own))


def _runnable() -> int:
    """Processes of this machine that want to run now."""
    return int(Path("/proc/loadavg").read_text().split()[3].split("/")[0])


def _working_folder(pid: int) -> str:
    """Of a process that has not ended, as it sees it itself."""
    return str((Path("/proc") / str(pid) / "cwd").readlink())


def _is_private(folder: str) -> bool:
    """Whether there is such a folder on the host, and it is not one that programs see as theirs in tier A."""
    return folder != "/tmp" and Path(folder).exists()


async def _honest(pool: Sandbox) -> list[str]:
    """An honest program with a number of its own passes, and the verdict holds that number."""
    run_id, number = secrets.token_hex(8), secrets.randbelow(1 << 62)
    tests: list[Test] = [
        CallTest(call="f()", expected=str(number)),
        CodeTest(source=f"def check(candidate):\n    assert candidate() == {number}\n", runner="check"),
    ]
    verdict = await pool.run(
        f"print({number})\ndef f(): return {number}\n", tests, entry_point="f", limits=_HONEST_LIMITS, run_id=run_id
    )
    if (verdict.outcome, verdict.id, verdict.stdout) == (Outcome.PASSED, run_id, f"{number}\n"):
        return []
    return [f"an honest program that came next: {verdict.outcome}, {verdict.error}, printed {verdict.stdout[:200]!r}"]


def _done(verdict: Verdict) -> Iterator[str]:
    reports = verdict.stdout.splitlines()
    if not reports:
        yield "the program reports nothing"
    yield from (report[:500] for report in reports if ": refused" not in report)
