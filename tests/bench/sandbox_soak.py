"""Does anything stay behind, get lost or get mixed up over many runs?

    .venv/bin/python -m tests.bench.sandbox_soak [--runs 20000] [--seed 0] [--json]
    .venv/bin/python -m tests.bench.sandbox_soak --kills 200

sends a mixture of right, wrong, crashing and exhausting programs through a pool of two workers (`workload.py`). Each
program holds a random constant; a verdict that shows another one is counted as shifted, and one with an outcome that
its program cannot have, or without the constant, as wrong. Before and after, it counts what the server's process and
the workers hold, and what lies in the system's shared places: those figures must not have grown. Resident memory holds
what the allocator keeps for later, so the number of Python's memory blocks is given too. Other programs of the machine
may change the shared places; new names are printed.

With `--kills` that many worker processes are killed at random moments. A run that loses its worker is repeated once, so
a `sandbox_error` is right only where two kills hit one run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import gc
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from agent.sandbox.pool import WorkerPool
from agent.settings import SandboxSettings
from memory.records import Outcome
from tests.bench import processes
from tests.bench.report import publish
from tests.bench.workload import Job, jobs

_WORKERS = 2
_DYING_SECONDS = 0.05
"""A worker that is killed may be given a run until it is gone."""
_WARM_UP = 2000
"""Runs after which what is kept for later runs is as full as it gets."""
_SHARED = ("/tmp", "/dev/shm", "/dev/mqueue")
_SETTLED_SECONDS = 10.0
_KILL_WITHIN = 0.02
_LOST_SECONDS = 120.0


@dataclass
class Tally:
    """What came of the runs."""

    outcomes: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)
    kills: list[float] = field(default_factory=list)
    """When a worker was killed; monotonic seconds."""
    unexplained: int = 0
    """`sandbox_error`s of runs that lost fewer than two workers."""
    resident_mb: list[int] = field(default_factory=list)
    """Of the server's process, on the way."""


async def main() -> None:
    """Run and print; exit status 1 if a verdict was lost, shifted or wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rng = random.Random(f"kills {given.seed}")
    warm_up, tally = Tally(), Tally()
    async with await WorkerPool.start(SandboxSettings(workers=_WORKERS)) as pool:
        started = len(processes.below(os.getpid()))
        await _soak(pool, list(jobs(_WARM_UP, given.seed - 1)), [], rng, warm_up)
        await _settled(started)
        todo = list(jobs(given.runs, given.seed))
        before, names = _footprint(), _names()
        began = time.monotonic()
        await _soak(pool, todo, sorted(rng.sample(range(given.runs), given.kills)), rng, tally)
        seconds = time.monotonic() - began
        await _settled(started)
        after, new = _footprint(), sorted(_names() - names)
    rows = [{"held": name, "before": before[name], "after": after[name]} for name in before]
    wrong = [*warm_up.complaints, *tally.complaints]
    notes = [
        f"{given.runs} runs in {seconds:.0f} s, seed {given.seed}: "
        + ", ".join(f"{outcome} {count}" for outcome, count in tally.outcomes.most_common()),
        f"verdicts lost {given.runs - tally.outcomes.total()}, shifted or wrong {len(wrong)}; workers killed "
        f"{len(tally.kills)}, sandbox errors {tally.outcomes[Outcome.SANDBOX_ERROR]}, of these of runs that lost fewer "
        f"than two workers {tally.unexplained}",
        f"resident MB of the server after each tenth: {', '.join(map(str, tally.resident_mb))}",
        *([f"new in shared places: {', '.join(new[:20])}"] if new else []),
        *wrong[:50],
    ]
    publish("tests.bench.sandbox_soak", rows, as_json=given.json, notes=notes)
    if wrong or tally.unexplained:
        raise SystemExit(1)


async def _soak(pool: WorkerPool, todo: list[Job], kill_at: list[int], rng: random.Random, tally: Tally) -> None:
    """Twice as many callers as workers, or as many where workers are killed: then no run waits for its turn while they
    are. A kill comes a little after the run of its number has begun."""
    loop = asyncio.get_running_loop()
    waiting = iter(enumerate(todo))
    kills = set(kill_at)

    async def caller() -> None:
        for number, job in waiting:
            if number in kills:
                loop.call_later(rng.uniform(0, _KILL_WITHIN), _kill_a_worker, rng, tally)
            await _one(pool, job, tally)
            if number % (len(todo) // 10) == 0:
                tally.resident_mb.append(round(processes.resident_mb([os.getpid()])))
                print(f"{number} of {len(todo)}", file=sys.stderr)

    await asyncio.gather(*(caller() for _ in range(_WORKERS if kills else 2 * _WORKERS)))


async def _one(pool: WorkerPool, job: Job, tally: Tally) -> None:
    began = time.monotonic()
    try:
        async with asyncio.timeout(_LOST_SECONDS):
            verdict = await pool.run(
                job.code, job.tests, entry_point=job.entry_point, prelude=job.prelude, limits=job.limits
            )
    except TimeoutError:
        tally.complaints.append(f"{job.kind}: no verdict in {_LOST_SECONDS:g} s")
        return
    tally.outcomes[verdict.outcome] += 1
    if complaint := job.complaint(verdict):
        tally.complaints.append(complaint)
    if verdict.outcome is Outcome.SANDBOX_ERROR and sum(kill > began - _DYING_SECONDS for kill in tally.kills) < 2:
        tally.unexplained += 1
        tally.complaints.append(f"{job.kind}: {verdict.error}")


def _kill_a_worker(rng: random.Random, tally: Tally) -> None:
    """Either of a worker's two processes: the outer one, or the one that starts programs."""
    outer = processes.children(os.getpid())
    found = [*outer, *(inner for pid in outer for inner in processes.children(pid))]
    if not found:
        asyncio.get_running_loop().call_later(_KILL_WITHIN, _kill_a_worker, rng, tally)
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(rng.choice(found), signal.SIGKILL)
        tally.kills.append(time.monotonic())


async def _settled(count: int) -> None:
    """Wait until as many processes are left as there were at the start, with no end of a run or restart under way."""
    deadline = time.monotonic() + _SETTLED_SECONDS
    while time.monotonic() < deadline:
        await asyncio.sleep(0.5)
        if len(processes.below(os.getpid())) == count:
            return


def _footprint() -> dict[str, object]:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    own, workers = [os.getpid()], processes.below(os.getpid())
    return {
        "processes below the server": len(workers),
        "descriptors, server": processes.descriptors(own),
        "descriptors, workers": processes.descriptors(workers),
        "mounts, server": processes.mounts(own),
        "mounts, workers": processes.mounts(workers),
        "control groups": sum(1 for _ in os.walk("/sys/fs/cgroup")),
        "memory blocks of Python, server (thousands)": round(sys.getallocatedblocks() / 1000),
        "resident MB, server": round(processes.resident_mb(own)),
        "resident MB, workers": round(processes.resident_mb(workers)),
        **{f"entries of {folder}": len(_names([folder])) for folder in _SHARED},
        **{f"System V {kind}": _lines(Path(f"/proc/sysvipc/{kind}")) for kind in ("shm", "sem", "msg")},
        "kernel keys": _lines(Path("/proc/keys")),
    }


def _names(folders: Iterable[str] = _SHARED) -> set[str]:
    return {str(entry) for folder in folders if Path(folder).is_dir() for entry in Path(folder).iterdir()}


def _lines(file: Path) -> int:
    """Entries of a table in /proc, its heading left out; 0 where the kernel has none."""
    return max(0, len(file.read_text().splitlines()) - 1) if file.exists() else 0


if __name__ == "__main__":
    asyncio.run(main())
