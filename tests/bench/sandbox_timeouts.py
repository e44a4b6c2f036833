"""Are programs that stay within their CPU limit ever killed because the machine is busy?

    .venv/bin/python -m tests.bench.sandbox_timeouts [--runs 500] [--limit 0.25] [--share 0.6] [--background 4]
        [--workers 2] [--json]

Every program computes until it has used a share of its CPU limit, by its own `time.process_time`: most of them in one
test with the limit per test, every tenth in three tests that together use that share of the limit per run. Eight times
as many runs as there are cores are under way at once, and other processes compute all the time. No run may end in a
time-out. The limit is the one that the sandbox enforces, its allowance for tracing included. A tenth as many of the
same programs then run under a plain wall clock of the same length, as many at once: what a harness without CPU clocks
makes of them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from agent.sandbox.pool import WorkerPool
from agent.sandbox.program import trace
from agent.settings import SandboxSettings
from memory.records import CallTest, Limits, Outcome, Test, Verdict
from tests.bench.report import publish

_INTERPRETER = Path(sys.executable).resolve()
_RUN_LIMIT = 3
"""Limit per run over the limit per test."""
_PROGRAM = """
import time

def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        for _ in range(1000):
            pass
    return True
"""


async def main() -> None:
    """Measure and print; exit status 1 if a run was killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--limit", type=float, default=0.25, help="CPU seconds per test")
    parser.add_argument("--share", type=float, default=0.6, help="of the limit that a program uses")
    parser.add_argument("--background", type=int, default=2 * _cores(), help="other processes that compute")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    at_once = 8 * _cores()
    limits = Limits(cpu_seconds_per_test=given.limit, cpu_seconds=_RUN_LIMIT * given.limit)
    enforced = given.limit * trace.SLOWDOWN
    burnt = given.share * enforced
    one: list[Test] = [CallTest(call=f"burn({burnt})", expected="True")]
    turn = asyncio.Semaphore(at_once)
    with _background(given.background):
        async with await WorkerPool.start(SandboxSettings(workers=given.workers)) as pool:

            async def run(number: int) -> Verdict:
                async with turn:
                    return await pool.run(_PROGRAM, one * (_RUN_LIMIT if number % 10 == 0 else 1), limits=limits)

            verdicts = await asyncio.gather(*(run(number) for number in range(given.runs)))
        wall = [_under_wall_clock(turn, burnt, enforced) for _ in range(given.runs // 10)]
        in_time = await asyncio.gather(*wall)
    row = {
        "judged by": f"this sandbox, {given.workers} workers",
        "runs": given.runs,
        "under way at once": at_once,
        "other processes": given.background,
        "killed": sum(verdict.outcome is Outcome.TIMEOUT for verdict in verdicts),
        "other failures": sum(verdict.outcome not in (Outcome.TIMEOUT, Outcome.PASSED) for verdict in verdicts),
    }
    naive = {"judged by": "a plain wall clock", "runs": len(in_time), "killed": in_time.count(False)}
    notes = [
        f"CPU limit {enforced:g} s per test, {_RUN_LIMIT} times that per run; {burnt:g} s used in each",
        *_messages(verdicts),
    ]
    publish(
        "tests.bench.sandbox_timeouts", [row, {**row, "other failures": 0, **naive}], as_json=given.json, notes=notes
    )
    if any(verdict.outcome is not Outcome.PASSED for verdict in verdicts):
        raise SystemExit(1)


def _messages(verdicts: Sequence[Verdict]) -> list[str]:
    told = Counter(verdict.error.message for verdict in verdicts if verdict.error)
    return [f"{count} times: {message}" for message, count in told.most_common()]


async def _under_wall_clock(turn: asyncio.Semaphore, burnt: float, seconds: float) -> bool:
    """Whether a fresh interpreter ends in `seconds`, counted from its start."""
    async with turn:
        source = f"{_PROGRAM}\nburn({burnt})\n"
        process = await asyncio.create_subprocess_exec(_INTERPRETER, "-I", "-S", "-c", source)
        try:
            await asyncio.wait_for(process.wait(), seconds)
        except TimeoutError:
            process.kill()
            await process.wait()
            return False
        return True


@contextlib.contextmanager
def _background(count: int) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            process = subprocess.Popen([_INTERPRETER, "-I", "-S", "-c", "while True: pass"])
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield


def _cores() -> int:
    return os.cpu_count() or 1


if __name__ == "__main__":
    asyncio.run(main())
