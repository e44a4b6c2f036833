"""What long-term memory is worth: the repeat, the transfer and the lesson test.

    .venv/bin/python -m tests.bench.memory_effect --engine URL --record FILE TRAIN.jsonl.gz VALIDATION.jsonl.gz

Repeat: the first 60 training problems that are solved are remembered, then asked again in other words, by rule and by
the model, with memory and without. Transfer: all training problems that are solved are remembered, then the other file
is asked with memory and without; near-duplicates are left out (`tests.bench.overlap`). Lesson: first answers that fail
there are repaired with lessons in the prompt and without. Hidden tests judge; they never reach the loop, and nothing is
remembered while it is measured. The record keeps what was sampled, so that a stopped run goes on.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import httpx

from agent import prompts
from agent.budget import ROUND, Budget
from agent.critic import VerdictTokenCritic
from agent.experience.recall import Recall
from agent.experience.remembering import experiences
from agent.graph import Graph, Request, Services, build_graph, initial_state
from agent.policy import EnginePolicy, Policy
from agent.problems import load
from agent.recording import RecordedPolicy
from agent.run import Run
from agent.sampling import sampling_of
from agent.sandbox.contract import Sandbox
from agent.sandbox.pool import WorkerPool
from agent.select import is_solved
from agent.settings import MemorySettings, SandboxSettings
from agent.statistics import paired_difference, pass_at_1
from agent.task import Message, read_problem
from agent.trajectory import trajectory
from memory.embed import SentenceEmbedder
from memory.experience import ExperienceStore
from memory.experience_store import DurableExperienceStore
from memory.records import Attempt, Experience, Outcome, Problem, Quality, Sampling, Trajectory
from tests.bench.judging import is_right, seen
from tests.bench.overlap import left_out
from tests.bench.rephrase import CannotRephrase, by_model, by_rule
from tests.bench.report import publish

TENANT = "bench"
MAX_TOKENS = 1024
REPAIRS = 4
"""Samples per failed first answer, in the lesson test."""
_AT_ONCE = 48

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Loop:
    """What a problem is solved with."""

    graph: Graph
    policy: Policy
    sandbox: Sandbox
    model: str
    candidates: int
    memory: MemorySettings


@dataclass(frozen=True, slots=True)
class Solved:
    """One problem, after the loop."""

    right: bool
    tokens: int
    recalled: bool
    """The answer is a remembered program as it was."""
    shown: bool
    """Remembered programs stood in a prompt."""
    trajectory: Trajectory


@dataclass(frozen=True, slots=True)
class Case:
    """A failed first answer, and the lessons that memory has for it."""

    place: int
    problem: Problem
    attempt: Attempt
    lessons: tuple[Experience, ...]


async def main() -> None:
    """Measure all three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("validation", type=Path)
    parser.add_argument("--engine", required=True)
    parser.add_argument("--record", required=True, type=Path)
    parser.add_argument("--model", default="Qwen/Qwen2.5-Coder-0.5B-Instruct")
    parser.add_argument("--candidates", type=int, default=8)
    parser.add_argument("--repeat", type=int, default=60)
    parser.add_argument("--limit", type=int, help="training problems, instead of all")
    parser.add_argument("--floor", type=float, default=MemorySettings().floor)
    parser.add_argument("--reuse", type=float, default=MemorySettings().reuse)
    given = parser.parse_args()
    train, validation = load(given.train)[: given.limit], load(given.validation)
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(
            httpx.AsyncClient(base_url=given.engine, timeout=3600.0, trust_env=False)
        )
        policy = RecordedPolicy(EnginePolicy(http, lambda: True), given.record)
        stack.callback(policy.close)
        pool = await stack.enter_async_context(await WorkerPool.start(SandboxSettings()))
        embedder = await SentenceEmbedder.open()
        stack.push_async_callback(embedder.aclose)
        settings = MemorySettings(floor=given.floor, reuse=given.reuse, patience_s=60.0)
        loop = Loop(build_graph(), policy, pool, given.model, given.candidates, settings)

        async def fresh() -> ExperienceStore:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            store = await DurableExperienceStore.open(folder, embedder, floor=given.floor)
            stack.push_async_callback(store.aclose)
            return store

        learned = await _each(train, lambda place, problem: _solve(loop, problem, place, None))
        remembered = [place for place, solved in enumerate(learned) if experiences(solved.trajectory, Quality())]
        few, everything = await fresh(), await fresh()
        await _remember(few, [learned[place].trajectory for place in remembered[: given.repeat]])
        await _remember(everything, [solved.trajectory for solved in learned])
        again = [train[place] for place in remembered[: given.repeat]]
        out = left_out(train, validation)
        strange = [problem for problem in validation if problem.id not in out]
        rows = [
            await _compared("repeat, by rule", loop, _by_rule(again), few),
            await _compared("repeat, by the model", loop, await _by_model(loop, again), few),
            await _compared("transfer", loop, strange, everything),
        ]
        lessons = await _lessons(loop, strange, everything)
        kept = await everything.stats()
    notes = [
        f"{len(remembered)} of {len(train)} training problems solved.",
        f"Remembered: {kept.solutions} solutions, {kept.lessons} lessons.",
        f"Left out as near-duplicates: {', '.join(sorted(out))}.",
    ]
    publish("tests.bench.memory_effect", rows, notes=notes)
    publish("tests.bench.memory_effect, lessons", lessons)


async def _compared(name: str, loop: Loop, problems: Sequence[Problem], store: ExperienceStore) -> dict[str, object]:
    """The same problems without memory and with it."""
    without = await _each(problems, lambda place, problem: _solve(loop, problem, place, None))
    with_ = await _each(problems, lambda place, problem: _solve(loop, problem, place, store))
    before, after = [one.right for one in without], [one.right for one in with_]
    difference = paired_difference(before, after)
    tokens = [sum(one.tokens for one in made) / len(problems) for made in (without, with_)]
    return {
        "test": f"{name} ({len(problems)})",
        "without, pass@1": f"{100 * pass_at_1(sum(before), len(before)).estimate:.1f} %",
        "with, pass@1": f"{100 * pass_at_1(sum(after), len(after)).estimate:.1f} %",
        "with - without": f"{100 * difference.estimate:+.1f} points "
        f"[{100 * difference.low:+.1f}, {100 * difference.high:+.1f}]",
        "gained / lost": f"{sum(b and not a for a, b in zip(before, after, strict=True))} / "
        f"{sum(a and not b for a, b in zip(before, after, strict=True))}",
        "tokens without": f"{tokens[0]:,.0f}",
        "tokens with": f"{tokens[1]:,.0f}",
        "answered from memory": f"{sum(one.recalled for one in with_)} "
        f"({sum(one.recalled and one.right for one in with_)} right)",
        "shown memory": f"{sum(one.shown for one in with_)} ({sum(one.shown and one.right for one in with_)} right)",
    }


async def _lessons(loop: Loop, problems: Sequence[Problem], store: ExperienceStore) -> list[dict[str, object]]:
    """Repairs of failed first answers, with lessons and without, of those that memory has a lesson for."""
    first = replace(loop, candidates=1)
    failed = [
        (place, problem, solved.trajectory.attempts[0])
        for place, (problem, solved) in enumerate(
            zip(problems, await _each(problems, lambda at, one: _solve(first, one, at, None)), strict=True)
        )
        if solved.trajectory.attempts and not is_solved(solved.trajectory.attempts[0])
    ]
    recall = Recall(store, TENANT, loop.memory)
    cases = [
        Case(place, problem, attempt, lessons)
        for place, problem, attempt in failed
        if (lessons := recall.fitting(await recall.lessons(attempt)))
    ]
    rows: list[dict[str, object]] = []
    for name, use in (("without lessons", False), ("with lessons", True)):
        shown = [case if use else replace(case, lessons=()) for case in cases]
        counts = await _each(shown, lambda _, case: _repaired(loop, case))
        samples = len(cases) * REPAIRS or 1
        rows.append(
            {
                "repairs": name,
                "failed first answers": len(failed),
                "of these with a lesson": len(cases),
                "pass the example": f"{100 * sum(passed for passed, _ in counts) / samples:.1f} %",
                "right": f"{100 * sum(right for _, right in counts) / samples:.1f} %",
                "repaired": f"{sum(passed > 0 for passed, _ in counts)} of {len(cases)}",
            }
        )
    return rows


async def _repaired(loop: Loop, case: Case) -> tuple[int, int]:
    """How many repairs pass the example, and how many are right."""
    assert case.attempt.verdict is not None, "it failed"
    prompt = prompts.repair(_chat(case.problem), case.attempt, case.attempt.verdict, case.lessons)
    problem = read_problem(case.problem.id, _chat(case.problem))
    sampling = sampling_of(_sampling(loop, case.place), ROUND, 1)
    call = loop.policy.sample(
        prompt.messages, REPAIRS, sampling, Run(), prefix=prompt.prefix, entry_point=problem.entry_point
    )
    passed = right = 0
    async for made in call:
        verdict = await seen(loop.sandbox, problem, made)
        passed += verdict is not None and verdict.outcome is Outcome.PASSED
        right += bool(made.code) and await is_right(loop.sandbox, case.problem, made)
    return passed, right


async def _solve(loop: Loop, problem: Problem, place: int, store: ExperienceStore | None) -> Solved:
    run, started = Run(), time.time()
    request = Request(
        id=f"{problem.id} {place}",
        messages=tuple(_chat(problem)),
        sampling=_sampling(loop, place),
        budget=Budget(
            max_candidates=loop.candidates,
            deadline=started + 3600,
            repair=False,
            prefix_seeds=False,
            generated_tests=True,
            critic=False,
            memory=store is not None,
        ),
    )
    recall = Recall(store, TENANT, loop.memory) if store is not None else None
    services = Services(loop.policy, loop.sandbox, VerdictTokenCritic(loop.policy, loop.model), run, recall)
    await loop.graph.ainvoke(initial_state(request), context=services, config={"recursion_limit": 1000})
    ended = trajectory(request, run, status="finished", tenant=TENANT, consent=False, started=started)
    answer = ended.attempts[ended.accepted] if ended.accepted is not None else None
    return Solved(
        right=answer is not None and await is_right(loop.sandbox, problem, answer.candidate),
        tokens=run.completion_tokens,
        recalled=answer is not None and answer.origin == "recalled",
        shown=any(attempt.shown and attempt.origin != "recalled" for attempt in ended.attempts),
        trajectory=ended,
    )


async def _remember(store: ExperienceStore, trajectories: Sequence[Trajectory]) -> None:
    await store.add([one for ended in trajectories for one in experiences(ended, Quality())])


def _by_rule(problems: Sequence[Problem]) -> list[Problem]:
    return [_worded(problem) for problem in problems]


def _worded(problem: Problem) -> Problem:
    try:
        return by_rule(problem, seed=1).problem
    except CannotRephrase:
        return problem


async def _by_model(loop: Loop, problems: Sequence[Problem]) -> list[Problem]:
    async def one(place: int, problem: Problem) -> Problem:
        async def chat(messages: Sequence[Message]) -> str:
            sampling = replace(_sampling(loop, place), temperature=0.7, max_tokens=200)
            return "".join([made.text async for made in loop.policy.sample(messages, 1, sampling, Run())])

        try:
            return (await by_model(problem, chat, seed=2)).problem
        except CannotRephrase:
            return problem

    return await _each(problems, one)


async def _each(items: Sequence[Item], work: Callable[[int, Item], Awaitable[Result]]) -> list[Result]:
    """Some at a time, results in order."""
    limit = asyncio.Semaphore(_AT_ONCE)

    async def one(place: int, item: Item) -> Result:
        async with limit:
            return await work(place, item)

    return list(await asyncio.gather(*(one(place, item) for place, item in enumerate(items))))


def _chat(problem: Problem) -> list[Message]:
    return [{"role": "user", "content": problem.statement}]


def _sampling(loop: Loop, place: int) -> Sampling:
    return Sampling(model=loop.model, temperature=0.0, seed=place, max_tokens=MAX_TOKENS)


if __name__ == "__main__":
    asyncio.run(main())
