"""What different kinds of samples are worth for problems whose first answer fails the examples of its prompt.

    .venv/bin/python -m tests.bench.sample_kinds --engine URL --record FILE PROBLEMS [--limit 42] [--n 8]

Each kind is sampled `n` times for each of these problems, at the loop's temperature; every sample is judged by the
examples of the prompt and by the hidden tests. The record keeps what was sampled, so that a stopped run goes on.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from agent import prompts
from agent.budget import MIN_P
from agent.feedback import describe
from agent.policy import EnginePolicy
from agent.problems import load
from agent.prompts import Prompt
from agent.recording import RecordedPolicy
from agent.run import Run
from agent.sandbox.contract import Sandbox
from agent.sandbox.pool import WorkerPool
from agent.settings import SandboxSettings
from agent.task import Message, read_problem
from memory.records import Attempt, CallTest, Candidate, Outcome, Problem, Sampling, Verdict
from tests.bench.judging import is_right, seen
from tests.bench.report import publish

MAX_TOKENS = 768
ROBUST = "Write a plain and robust solution: simple loops and conditions, no clever tricks, every edge case handled."
THINK = (
    "First say in a few short sentences how the result follows from the input, using the examples, and mind the "
    "special cases. Then write the function."
)
ANEW = "Write the function from scratch, in another way."
EXPLAIN = (
    "This approach is wrong. Say in one or two sentences what the function must do for the failing test, then write a "
    "different program in one ```python block."
)


@dataclass(frozen=True, slots=True)
class Judged:
    """One sample."""

    passed: bool
    """The examples of the prompt."""
    right: bool
    """The hidden tests."""
    tokens: int
    repeats: bool
    """It is the failing program again."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What all questions are asked and judged with."""

    policy: RecordedPolicy
    sandbox: Sandbox
    model: str

    async def candidates(
        self, prompt: Prompt, n: int, temperature: float, seed: int, name: str | None
    ) -> list[Candidate]:
        """Samples in the order of their seeds."""
        sampling = Sampling(
            model=self.model,
            temperature=temperature,
            min_p=MIN_P if temperature else 0.0,
            seed=seed,
            max_tokens=MAX_TOKENS,
        )
        stream = self.policy.sample(prompt.messages, n, sampling, Run(), prefix=prompt.prefix, entry_point=name)
        return sorted([one async for one in stream], key=lambda one: one.sampling.seed or 0)


def kinds(chat: Sequence[Message], problem: Problem, failed: Candidate, verdict: Verdict) -> dict[str, Prompt]:
    """The prompts that are compared; `failed` is a program that fails the examples."""
    statement = chat[-1]["content"]
    attempt = Attempt(candidate=failed, verdict=verdict, origin="first", round=0)
    told = describe(failed, verdict)
    shown = [*chat, {"role": "assistant", "content": f"```python\n{failed.code.strip()}\n```"}]
    repair = prompts.repair(chat, attempt, verdict)
    return {
        "the chat as it is": prompts.first(chat),
        "chat, tests repeated as asserts": _asked(
            f"{statement}\n\nThese tests must pass:\n```python\n{_asserts(problem)}\n```"
        ),
        "chat, robust solution asked for": _asked(f"{statement}\n\n{ROBUST}"),
        "chat, reasoning asked for": _asked(f"{statement}\n\n{THINK}"),
        "answer begun as code": prompts.begun(chat, problem),
        "repair: program and failure": Prompt(repair.messages),
        "repair, answer begun as code": repair,
        "repair: say what must be done": Prompt((*shown, {"role": "user", "content": f"{told}\n\n{EXPLAIN}"})),
        "failure without the program": _asked(f"{statement}\n\nA former attempt was wrong.\n{told}\n{ANEW}"),
    }


def _asked(text: str) -> Prompt:
    return Prompt(({"role": "user", "content": text},))


def _asserts(problem: Problem) -> str:
    return "\n".join(
        f"assert {test.call} == {test.expected}" if isinstance(test, CallTest) else getattr(test, "source", "")
        for test in problem.visible
    )


async def _problem(bench: Bench, index: int, asked: Problem, n: int) -> dict[str, list[Judged]] | None:
    """The samples of each kind; None if the first answer passes the examples, or there are none."""
    chat = [{"role": "user", "content": asked.statement}]
    problem = read_problem(asked.id, chat)
    first = (await bench.candidates(prompts.first(chat), 1, 0.0, index, problem.entry_point))[0]
    verdict = await seen(bench.sandbox, problem, first)
    if not problem.visible or verdict is None or verdict.outcome is Outcome.PASSED:
        return None
    found: dict[str, list[Judged]] = {}
    for kind, prompt in kinds(chat, problem, first, verdict).items():
        found[kind] = []
        for one in await bench.candidates(prompt, n, 0.8, index + 1, problem.entry_point):
            shown = await seen(bench.sandbox, problem, one)
            passed = shown is not None and shown.outcome is Outcome.PASSED
            right = bool(one.code) and await is_right(bench.sandbox, asked, one)
            repeats = one.code.strip() == first.code.strip()
            found[kind].append(Judged(passed, right, one.completion_tokens, repeats))
    return found


async def main() -> None:
    """Sample, judge, print one row per kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problems", type=Path)
    parser.add_argument("--engine", required=True)
    parser.add_argument("--record", required=True, type=Path)
    parser.add_argument("--model", default="Qwen/Qwen2.5-Coder-0.5B-Instruct")
    parser.add_argument("--limit", type=int, default=42)
    parser.add_argument("--n", type=int, default=8)
    given = parser.parse_args()
    asked = [(index, problem) for index, problem in enumerate(load(given.problems)) if problem.hidden][: given.limit]
    at_once = asyncio.Semaphore(6)
    async with httpx.AsyncClient(base_url=given.engine, timeout=3600.0, trust_env=False) as http:
        policy = RecordedPolicy(EnginePolicy(http, lambda: True), given.record)
        async with await WorkerPool.start(SandboxSettings()) as pool:
            bench = Bench(policy, pool, given.model)

            async def one(index: int, problem: Problem) -> dict[str, list[Judged]] | None:
                async with at_once:
                    return await _problem(bench, index, problem, given.n)

            hard = [found for found in await asyncio.gather(*(one(*each) for each in asked)) if found is not None]
    rows = []
    for kind in hard[0] if hard else ():
        samples = [sample for found in hard for sample in found[kind]]
        rows.append(
            {
                "sample": kind,
                "samples": len(samples),
                "passes the examples": f"{100 * sum(one.passed for one in samples) / len(samples):.1f} %",
                "right": f"{100 * sum(one.right for one in samples) / len(samples):.1f} %",
                "problems": sum(any(one.right for one in found[kind]) for found in hard),
                "tokens": f"{sum(one.tokens for one in samples) / len(samples):.0f}",
                "same again": f"{100 * sum(one.repeats for one in samples) / len(samples):.0f} %",
            }
        )
    notes = [f"{len(hard)} of the first {len(asked)} problems of {given.problems.name}"]
    publish("tests.bench.sample_kinds", rows, notes=notes)


if __name__ == "__main__":
    asyncio.run(main())
