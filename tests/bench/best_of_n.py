"""Plain best-of-n beside the loop at equal tokens: n samples of every problem, the first that passes visible tests.

    .venv/bin/python -m tests.bench.best_of_n --engine URL --record FILE RESULT.json...

Each RESULT.json is one of `burnish bench` with the modes base and refined. n is the least number of samples whose
tokens, over all files together, are at least those of the loop. The samples have the loop's own settings (temperature
0.8), so that a record made by the same server holds many of them already.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from agent.budget import SAMPLES
from agent.policy import EnginePolicy
from agent.prelude import needed
from agent.problems import load
from agent.recording import RecordedPolicy
from agent.run import Run
from agent.sampling import sampling_of
from agent.sandbox.contract import Sandbox
from agent.sandbox.pool import WorkerPool
from agent.select import ranked
from agent.settings import SandboxSettings
from agent.statistics import paired_difference, pass_at_1
from agent.task import read_problem
from memory.records import Attempt, Candidate, Outcome, Problem, Sampling, Verdict
from tests.bench.report import publish

MOST = 32
"""Samples that are looked at in the search for n."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One problem, and what the loop made of it."""

    index: int
    problem: Problem
    passed: bool
    tokens: int


@dataclass(frozen=True, slots=True)
class Sampled:
    """The samples of one problem, in the order of their seeds."""

    tokens: tuple[int, ...]
    chosen: tuple[bool, ...]
    """Whether the choice among the first 1, 2, … samples passes the hidden tests."""


async def main() -> None:
    """Sample, find n, print the paired difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", type=Path)
    parser.add_argument("--engine", required=True)
    parser.add_argument("--record", required=True, type=Path)
    parser.add_argument("--mode", default="refined")
    parser.add_argument("--n", type=int, help="samples per problem, instead of the number that equal tokens ask for")
    given = parser.parse_args()
    asked = {path: _asked(json.loads(path.read_text()), given.mode) for path in given.results}
    model = json.loads(given.results[0].read_text())["server"]["asked"].get("base")
    everything = [one for of_file in asked.values() for one in of_file]
    async with httpx.AsyncClient(base_url=given.engine, timeout=3600.0, trust_env=False) as http:
        policy = RecordedPolicy(EnginePolicy(http, lambda: True), given.record)
        async with await WorkerPool.start(SandboxSettings()) as pool:
            spent = sum(one.tokens for one in everything)
            count = given.n or 1
            sampled = await _all(policy, pool, everything, model, count)
            while given.n is None and count < MOST and sum(sum(one.tokens) for one in sampled) < spent:
                count += 1
                sampled = await _all(policy, pool, everything, model, count)
    rows = []
    start = 0
    for path, of_file in [*asked.items(), (Path("all"), everything)]:
        plain = sampled if path.name == "all" else sampled[start : start + len(of_file)]
        start += len(of_file)
        rows.append(_row(path.stem, of_file, plain, count))
    publish("tests.bench.best_of_n", rows)


def _asked(result: dict[str, Any], mode: str) -> list[Asked]:
    problems = {problem.id: (index, problem) for index, problem in enumerate(load(Path(result["settings"]["file"])))}
    rows = [row for row in result["rows"] if row["mode"] == mode and row["error"] is None]
    seed = result["settings"]["seed"] or 0
    return [
        Asked(seed + problems[row["task_id"]][0], problems[row["task_id"]][1], row["passed"], row["completion_tokens"])
        for row in rows
    ]


async def _all(policy: RecordedPolicy, sandbox: Sandbox, asked: Sequence[Asked], model: str, n: int) -> list[Sampled]:
    limit = asyncio.Semaphore(8)

    async def one(what: Asked) -> Sampled:
        async with limit:
            return await _one(policy, sandbox, what, model, n)

    return list(await asyncio.gather(*map(one, asked)))


async def _one(policy: RecordedPolicy, sandbox: Sandbox, asked: Asked, model: str, n: int) -> Sampled:
    messages = [{"role": "user", "content": asked.problem.statement}]
    problem = read_problem(asked.problem.id, messages)
    own = Sampling(model=model, temperature=0.0, seed=asked.index, max_tokens=1024)
    stream = policy.sample(messages, n, sampling_of(own, SAMPLES[0], 1), Run(), entry_point=problem.entry_point)
    made: list[Candidate] = sorted([one async for one in stream], key=lambda one: one.sampling.seed or 0)
    attempts: list[Attempt] = []
    right: list[bool] = []
    for candidate in made:
        attempts.append(
            Attempt(candidate=candidate, verdict=await _seen(sandbox, problem, candidate), origin="sample", round=0)
        )
        right.append(await _is_right(sandbox, asked.problem, candidate))
    chosen = tuple(right[ranked(attempts[:count])[0]] for count in range(1, n + 1))
    return Sampled(tuple(one.completion_tokens for one in made), chosen)


async def _seen(sandbox: Sandbox, problem: Problem, candidate: Candidate) -> Verdict | None:
    if not candidate.code:
        return None
    prelude = needed(problem.prelude, candidate.code)
    return await sandbox.run(candidate.code, problem.visible, entry_point=problem.entry_point, prelude=prelude)


async def _is_right(sandbox: Sandbox, problem: Problem, candidate: Candidate) -> bool:
    verdict = await sandbox.run(
        candidate.code,
        problem.hidden,
        entry_point=problem.entry_point,
        prelude=problem.prelude,
        limits=problem.limits,
    )
    return verdict.outcome is Outcome.PASSED


def _row(name: str, asked: Sequence[Asked], sampled: Sequence[Sampled], n: int) -> dict[str, object]:
    loop, plain = [one.passed for one in asked], [one.chosen[-1] for one in sampled]
    difference = paired_difference(plain, loop)
    return {
        "problems": f"{name} ({len(asked)})",
        "n": n,
        "best of n, pass@1": f"{100 * pass_at_1(sum(plain), len(plain)).estimate:.1f} %",
        "loop, pass@1": f"{100 * pass_at_1(sum(loop), len(loop)).estimate:.1f} %",
        "tokens, best of n": f"{sum(sum(one.tokens) for one in sampled) / len(sampled):,.0f}",
        "tokens, loop": f"{sum(one.tokens for one in asked) / len(asked):,.0f}",
        "loop - best of n": f"{100 * difference.estimate:+.1f} points "
        f"[{100 * difference.low:+.1f}, {100 * difference.high:+.1f}]",
        "gained / lost": f"{sum(a and not b for a, b in zip(loop, plain, strict=True))} / "
        f"{sum(b and not a for a, b in zip(loop, plain, strict=True))}",
    }


if __name__ == "__main__":
    asyncio.run(main())
