"""Plain best-of-n beside the loop at equal tokens: n samples of every problem, the first that passes visible tests.

    .venv/bin/python -m tests.bench.best_of_n --engine URL --record FILE RESULT.json...

Each RESULT.json is one of `burnish bench` with the mode refined. n is the least number of samples whose
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
from agent.problems import load
from agent.recording import RecordedPolicy
from agent.run import Run
from agent.sampling import sampling_of
from agent.sandbox.contract import Sandbox
from agent.sandbox.pool import WorkerPool
from agent.select import ranked
from agent.settings import SandboxSettings
from agent.statistics import paired_difference, pass_at_1
from agent.task import Message, read_problem
from memory.records import Attempt, Candidate, Problem, Sampling
from tests.bench.judging import is_right, seen
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


async def main() -> None:
    """Sample, find n, print the paired difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", type=Path)
    parser.add_argument("--engine", required=True)
    parser.add_argument("--record", required=True, type=Path)
    parser.add_argument("--mode", default="refined")
    parser.add_argument("--model", default="Qwen/Qwen2.5-Coder-0.5B-Instruct")
    parser.add_argument("--n", type=int, help="samples per problem, instead of the number that equal tokens ask for")
    given = parser.parse_args()
    asked = {path: _asked(json.loads(path.read_text()), given.mode) for path in given.results}
    everything = [one for of_file in asked.values() for one in of_file]
    async with httpx.AsyncClient(base_url=given.engine, timeout=3600.0, trust_env=False) as http:
        policy = RecordedPolicy(EnginePolicy(http, lambda: True), given.record)
        async with await WorkerPool.start(SandboxSettings()) as pool:
            spent = sum(one.tokens for one in everything)
            count = given.n or 1
            sampled = await _sampled(policy, everything, given.model, count)
            while given.n is None and count < MOST and _tokens(sampled) < spent:
                count += 1
                sampled = await _sampled(policy, everything, given.model, count)
            right = [await _choice(pool, one, made) for one, made in zip(everything, sampled, strict=True)]
    rows = []
    start = 0
    for path, of_file in [*asked.items(), (Path("all"), everything)]:
        part = slice(None) if path.name == "all" else slice(start, start + len(of_file))
        start += len(of_file)
        rows.append(_row(path.stem, of_file, right[part], _tokens(sampled[part]), count))
    publish("tests.bench.best_of_n", rows)


def _asked(result: dict[str, Any], mode: str) -> list[Asked]:
    problems = {problem.id: (index, problem) for index, problem in enumerate(load(Path(result["settings"]["file"])))}
    rows = [row for row in result["rows"] if row["mode"] == mode and row["error"] is None]
    seed = result["settings"]["seed"] or 0
    return [
        Asked(seed + problems[row["task_id"]][0], problems[row["task_id"]][1], row["passed"], row["completion_tokens"])
        for row in rows
    ]


async def _sampled(policy: RecordedPolicy, asked: Sequence[Asked], model: str, n: int) -> list[list[Candidate]]:
    """The first `n` samples of each problem, in the order of their seeds."""
    limit = asyncio.Semaphore(32)

    async def one(what: Asked) -> list[Candidate]:
        own = Sampling(model=model, temperature=0.0, seed=what.index, max_tokens=1024)
        settings, name = sampling_of(own, SAMPLES[0], 1), _shown(what).entry_point
        async with limit:
            made = [one async for one in policy.sample(_chat(what), n, settings, Run(), entry_point=name)]
        return sorted(made, key=lambda one: one.sampling.seed or 0)

    return list(await asyncio.gather(*map(one, asked)))


async def _choice(sandbox: Sandbox, asked: Asked, made: Sequence[Candidate]) -> bool:
    """Whether the first sample that passes most of the prompt's examples passes the hidden tests."""
    problem = _shown(asked)
    attempts = [
        Attempt(candidate=one, verdict=await seen(sandbox, problem, one), origin="sample", round=0) for one in made
    ]
    return await is_right(sandbox, asked.problem, made[ranked(attempts)[0]])


def _chat(asked: Asked) -> list[Message]:
    return [{"role": "user", "content": asked.problem.statement}]


def _shown(asked: Asked) -> Problem:
    return read_problem(asked.problem.id, _chat(asked))


def _tokens(sampled: Sequence[Sequence[Candidate]]) -> int:
    return sum(one.completion_tokens for made in sampled for one in made)


def _row(name: str, asked: Sequence[Asked], plain: Sequence[bool], tokens: int, n: int) -> dict[str, object]:
    loop = [one.passed for one in asked]
    difference = paired_difference(plain, loop)
    return {
        "problems": f"{name} ({len(asked)})",
        "n": n,
        "best of n, pass@1": f"{100 * pass_at_1(sum(plain), len(plain)).estimate:.1f} %",
        "loop, pass@1": f"{100 * pass_at_1(sum(loop), len(loop)).estimate:.1f} %",
        "tokens, best of n": f"{tokens / len(asked):,.0f}",
        "tokens, loop": f"{sum(one.tokens for one in asked) / len(asked):,.0f}",
        "loop - best of n": f"{100 * difference.estimate:+.1f} points "
        f"[{100 * difference.low:+.1f}, {100 * difference.high:+.1f}]",
        "gained / lost": f"{sum(a and not b for a, b in zip(loop, plain, strict=True))} / "
        f"{sum(b and not a for a, b in zip(loop, plain, strict=True))}",
    }


if __name__ == "__main__":
    asyncio.run(main())
