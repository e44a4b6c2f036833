"""The pool itself: concurrency, cancellation, lost workers, the end of the parent, refusal."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent.sandbox import crew
from agent.sandbox.pool import WorkerPool
from agent.sandbox.session import Program, Session, Tally
from agent.sandbox.walls import kernel, landlock
from agent.settings import SandboxSettings
from memory.records import AssertTest, CallTest, CodeTest, Limits, Outcome, StdioTest, Test

pytestmark = pytest.mark.asyncio(loop_scope="session")

LOOP = "def f(x):\n    while True: pass\n"
ONE: list[Test] = [CallTest(call="f(1)", expected="1")]
REPOSITORY = Path(__file__).parents[3]


def descendants(pid: int) -> set[int]:
    """Live processes below `pid`."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, parent = (entry / "stat").read_text().rsplit(")", 1)[1].split()[:2]
            except OSError:
                continue
            if state not in "ZX":
                parents[int(entry.name)] = int(parent)
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        current = waiting.pop()
        below = {child for child, parent in parents.items() if parent == current}
        found |= below
        waiting += below
    return found


def alive(pids: set[int]) -> set[int]:
    found = set()
    for pid in pids:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX":
                found.add(pid)
        except OSError:
            continue
    return found


async def until_gone(pids: set[int], seconds: float = 5) -> set[int]:
    end = time.monotonic() + seconds
    while alive(pids) and time.monotonic() < end:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    return alive(pids)


async def test_isolation_is_reported(pool: WorkerPool) -> None:
    assert pool.isolation.tier in ("A-root", "A-user")
    assert pool.isolation.missing == ()
    assert pool.isolation.features


async def test_results_never_shift(pool: WorkerPool) -> None:
    async def one(number: int) -> None:
        code = f"def f(): return {number}\nprint({number})\n"
        tests: list[Test] = [
            CallTest(call="f()", expected=str(number)),
            CodeTest(source=f"def check(c): assert c() == {number}", runner="check"),
        ]
        if number % 7 == 0:
            code = f"import os\ndef f(): os._exit({number % 200})\nprint({number}, flush=True)\n"
        if number % 11 == 0:
            tests = [StdioTest(stdin=str(number), stdout=str(number + 1))]
            code = "print(int(input()) + 1)"
        verdict = await pool.run(code, tests, entry_point="f", run_id=f"run {number}")
        assert verdict.id == f"run {number}"
        if number % 11 == 0:
            assert verdict.outcome is Outcome.PASSED
            assert verdict.stdout == f"{number + 1}\n"
            return
        assert verdict.stdout.split() == [str(number)] * len(verdict.stdout.split())
        assert verdict.outcome is (Outcome.RUNTIME_ERROR if number % 7 == 0 else Outcome.PASSED)

    await asyncio.gather(*(one(number) for number in range(1, 120)))


async def test_cancelling_kills_at_once_and_the_worker_lives(pool: WorkerPool) -> None:
    workers = {worker.pid for worker in pool._crew.workers}
    before = descendants(os.getpid())
    for tests in (ONE, [CodeTest(source="def check(c): assert c(1) == 1", runner="check")]):
        task = asyncio.create_task(pool.run(LOOP, tests, entry_point="f"))
        await asyncio.sleep(0.3)
        running = descendants(os.getpid()) - before
        assert running
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await until_gone(running, 1.0) == set()
    verdicts = await asyncio.gather(*(pool.run("def f(x): return x", ONE) for _ in range(6)))
    assert {verdict.outcome for verdict in verdicts} == {Outcome.PASSED}
    assert {worker.pid for worker in pool._crew.workers} == workers


async def test_what_is_killed_before_its_worker_knows_of_it_dies() -> None:
    async with await WorkerPool.start(SandboxSettings(workers=1)) as own:
        (worker,) = own._crew.workers
        before = descendants(worker.pid)
        program = Program(code=LOOP, prelude="", entry_point="f", limits=Limits())
        for _ in range(30):
            with Session(worker, program, Tally(cpu_left=10.0)) as session:
                ended = session._exit
            assert (await asyncio.wait_for(ended, 5.0)).reason == "killed"
        assert worker.is_quiet
        assert descendants(worker.pid) == before


async def test_cancelling_while_waiting_costs_nothing(pool: WorkerPool) -> None:
    tasks = [asyncio.create_task(pool.run("def f(x): return x", ONE)) for _ in range(20)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results[::2])
    assert [getattr(result, "outcome", None) for result in results[1::2]] == [Outcome.PASSED] * 10


async def test_killed_worker_is_replaced_and_the_run_repeated() -> None:
    async with await WorkerPool.start(SandboxSettings(workers=1)) as own:
        (worker,) = own._crew.workers
        task = asyncio.create_task(own.run(LOOP, ONE, limits=Limits(cpu_seconds_per_test=0.5, cpu_seconds=0.5)))
        await asyncio.sleep(0.2)
        os.kill(worker.pid, signal.SIGKILL)
        verdict = await task
        assert verdict.outcome is Outcome.TIMEOUT
        assert (await own.run("def f(x): return x", ONE)).outcome is Outcome.PASSED
        assert {fresh.pid for fresh in own._crew.workers} != {worker.pid}


async def test_workers_killed_while_free_cost_no_run() -> None:
    async with await WorkerPool.start(SandboxSettings(workers=2)) as own:
        killed = {worker.pid for worker in own._crew.workers}
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(0.3)
        assert (await own.run("def f(x): return x", ONE)).outcome is Outcome.PASSED
        assert not killed & {worker.pid for worker in own._crew.workers}


async def test_second_loss_is_a_sandbox_error() -> None:
    async with await WorkerPool.start(SandboxSettings(workers=1)) as own:
        task = asyncio.create_task(own.run("import time\ndef f(x): time.sleep(30)", ONE, run_id="a"))
        killed: set[int] = set()
        while not task.done():
            for worker in list(own._crew.workers):
                if worker.pid not in killed and not worker._quiet.is_set():
                    os.kill(worker.pid, signal.SIGKILL)
                    killed.add(worker.pid)
            await asyncio.sleep(0.02)
        verdict = task.result()
        assert (verdict.id, verdict.outcome, len(killed)) == ("a", Outcome.SANDBOX_ERROR, 2)


async def test_recycling() -> None:
    async with await WorkerPool.start(SandboxSettings(workers=1)) as own:
        (first,) = own._crew.workers
        first.runs = crew.RUNS_PER_WORKER - 1
        assert (await own.run("def f(x): return x", ONE)).outcome is Outcome.PASSED
        assert (await own.run("def f(x): return x", ONE)).outcome is Outcome.PASSED
        assert first not in own._crew.workers


async def test_closing_leaves_nothing() -> None:
    own = await WorkerPool.start(SandboxSettings(workers=2))
    tasks = [asyncio.create_task(own.run(LOOP, ONE)) for _ in range(4)]
    await asyncio.sleep(0.3)
    below = set().union(*(descendants(worker.pid) | {worker.pid} for worker in own._crew.workers))
    assert len(below) >= 4
    await own.aclose()
    assert await until_gone(below) == set()
    verdicts = await asyncio.gather(*tasks)
    assert {verdict.outcome for verdict in verdicts} == {Outcome.SANDBOX_ERROR}
    assert (await own.run("x = 1", [])).outcome is Outcome.SANDBOX_ERROR
    await own.aclose()


async def test_nothing_outlives_a_killed_parent() -> None:
    script = (
        "import asyncio\nfrom agent.sandbox.pool import WorkerPool\nfrom agent.settings import SandboxSettings\n"
        "from memory.records import *\n"
        "async def main():\n    pool = await WorkerPool.start(SandboxSettings(workers=2))\n"
        "    jobs = [asyncio.create_task(pool.run(c, [CallTest(call='f(1)', expected='1')]))\n"
        "        for c in ('def f(x):\\n    while True: pass', 'import time\\ndef f(x): time.sleep(60)')]\n"
        "    await asyncio.sleep(0.3)\n    print('ready', flush=True)\n    await asyncio.gather(*jobs)\nasyncio.run(main())\n"
    )
    with start_python(script) as parent:
        assert parent.stdout is not None
        assert await asyncio.to_thread(parent.stdout.readline) == b"ready\n"
        below = descendants(parent.pid)
        assert len(below) >= 6
        parent.kill()
        parent.wait()
    assert await until_gone(below) == set()


async def test_no_descriptor_or_process_is_leaked(pool: WorkerPool) -> None:
    async def some() -> None:
        check = CodeTest(source="def check(c): assert c(1) == 1", runner="check")
        programs = ("def f(x): return x", "import os\nos._exit(1)", "def f(:", "def f(x): return 1 / 0")
        await asyncio.gather(*(pool.run(code, [*ONE, check], entry_point="f") for code in programs * 3))
        await asyncio.sleep(0.1)

    await some()
    before = descriptors(), len(descendants(os.getpid()))
    await some()
    assert (descriptors(), len(descendants(os.getpid()))) == before


async def test_queue_is_fair_and_clocks_start_late() -> None:
    async with await WorkerPool.start(SandboxSettings(workers=1)) as own:
        code = "import time\ndef f(x):\n    time.sleep(0.1)\n    return x\n"
        order: list[int] = []

        async def one(number: int) -> float:
            verdict = await own.run(code, ONE)
            order.append(number)
            assert verdict.outcome is Outcome.PASSED
            return verdict.seconds

        started = time.monotonic()
        seconds = await asyncio.gather(*(one(number) for number in range(5)))
        elapsed = time.monotonic() - started
        assert order == list(range(5))
        assert sorted(seconds)[2] < elapsed / 2


async def test_cpu_limit_is_not_wall_time(pool: WorkerPool) -> None:
    """Four times more runs than workers, each using most of its limit."""
    code = "import time\ndef f(x):\n    end = time.process_time() + 0.3\n    while time.process_time() < end: pass\n    return x\n"
    limits = Limits(cpu_seconds_per_test=0.5, cpu_seconds=0.5)
    verdicts = await asyncio.gather(*(pool.run(code, ONE, limits=limits) for _ in range(8)))
    assert {verdict.outcome for verdict in verdicts} == {Outcome.PASSED}


def start_python(script: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", script], cwd=REPOSITORY, stdout=subprocess.PIPE)


def run_python(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=False)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def start_without(calls: list[int], tier: str) -> subprocess.CompletedProcess[str]:
    """Start a pool in a process to which the system calls `calls` are denied."""
    script = (
        "import asyncio, sys\nfrom agent.sandbox.walls import kernel, seccomp\nfrom agent.sandbox.pool import WorkerPool\n"
        "from agent.settings import SandboxSettings\nfrom agent.errors import IsolationUnavailable\n"
        "from memory.records import CallTest\n"
        "async def main():\n"
        f"    async with await WorkerPool.start(SandboxSettings(workers=1, tier={tier!r})) as pool:\n"
        "        print(pool.isolation.tier, *pool.isolation.missing)\n"
        "        print((await pool.run('def f(): return 1', [CallTest(call='f()', expected='1')])).outcome)\n"
        f"kernel.forbid_new_privileges()\nkernel.filter_system_calls(seccomp.deny({calls}))\n"
        "try: asyncio.run(main())\n"
        "except IsolationUnavailable as error: print(error); sys.exit(78)\n"
    )
    return run_python(script)


UNSHARE, PIVOT_ROOT, LANDLOCK = 272, 155, 444


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="system call numbers of x86_64")
async def test_refused_without_isolation() -> None:
    without_namespaces = await asyncio.to_thread(start_without, [UNSHARE], "A")
    assert without_namespaces.returncode == 78, without_namespaces.stderr
    assert "user namespaces" in without_namespaces.stdout
    without_mounts = await asyncio.to_thread(start_without, [PIVOT_ROOT], "A")
    assert without_mounts.returncode == 78, without_mounts.stderr
    assert "pivot_root" in without_mounts.stdout
    without_both = await asyncio.to_thread(start_without, [UNSHARE, LANDLOCK], "auto")
    assert without_both.returncode == 78, without_both.stderr
    assert "user namespaces" in without_both.stdout
    assert "Landlock" in without_both.stdout


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="system call numbers of x86_64")
async def test_tier_a_needs_no_landlock() -> None:
    done = await asyncio.to_thread(start_without, [LANDLOCK], "A")
    assert done.stdout.split() == ["A-root" if os.geteuid() == 0 else "A-user", "passed"], done.stderr


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="system call numbers of x86_64")
@pytest.mark.skipif(kernel.landlock_version() < landlock.SCOPED_SIGNALS, reason="tier B needs Landlock 6")
async def test_falls_back_to_tier_b_and_says_why() -> None:
    done = await asyncio.to_thread(start_without, [UNSHARE], "auto")
    if done.returncode == 78 and "other users cannot read" in done.stdout:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stderr
    first, outcome = done.stdout.splitlines()
    assert first.startswith("B namespaces (")
    assert outcome == "passed"


async def test_worker_loads_only_what_it_needs() -> None:
    script = (
        "import sys\nfrom agent.sandbox.walls import start, template, worker\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('pydantic', 'memory', 'httpx', 'langgraph')])"
    )
    done = await asyncio.to_thread(run_python, script)
    assert done.stdout.strip() == "[]"


async def test_tests_of_one_run_share_one_process(pool: WorkerPool) -> None:
    code = "n = 0\ndef f(x):\n    global n\n    n += 1\n    return n\n"
    tests: list[Test] = [AssertTest(source=f"assert f(0) == {i}") for i in (1, 2)]
    assert (await pool.run(code, tests)).outcome is Outcome.PASSED


async def test_a_worker_whose_run_raised_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with await WorkerPool.start(SandboxSettings(workers=1)) as own:
        (worker,) = own._crew.workers
        with monkeypatch.context() as broken:
            broken.setattr(Session, "load", _raise)
            with pytest.raises(ZeroDivisionError):
                await own.run("def f(x): return x\n", [AssertTest(source="assert f(1) == 1")])
        verdict = await own.run("def f(x): return x\n", [AssertTest(source="assert f(1) == 1")])
        assert verdict.outcome is Outcome.PASSED
        assert worker not in own._crew.workers


async def _raise(*details: object, **named: object) -> None:
    raise ZeroDivisionError
