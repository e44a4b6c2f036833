"""From which similarity on a remembered program is worth trying: right answers and wrong ones by similarity.

    .venv/bin/python -m tests.bench.memory_floor TRAIN.jsonl.gz VALIDATION.jsonl.gz

The reference programs of the first file are remembered. For each problem of the second, and for each of the first in
other words (`tests.bench.rephrase`), the nearest remembered programs are tried as they are, as
`agent/experience/reuse.py` does: how many pass the example of the prompt, and how many of those are right by the hidden
tests? No model is asked.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.experience.recall import Recall
from agent.experience.remembering import remembered
from agent.experience.reuse import renamed
from agent.problems import load
from agent.sandbox.contract import Sandbox
from agent.sandbox.pool import WorkerPool
from agent.settings import MemorySettings, SandboxSettings
from agent.task import read_problem
from agent.trial import trial
from memory.embed import SentenceEmbedder
from memory.experience_store import DurableExperienceStore
from memory.records import Experience, Outcome, Problem, Quality, TestSource
from tests.bench.rephrase import CannotRephrase, by_rule
from tests.bench.report import publish

TENANT = "bench"
NEAREST = 3
STEP = 0.05


@dataclass(frozen=True, slots=True)
class Try:
    """One remembered program on one problem."""

    similarity: float
    passes: bool
    right: bool


async def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("validation", type=Path)
    given = parser.parse_args()
    train, validation = load(given.train), load(given.validation)
    embedder = await SentenceEmbedder.open()
    with tempfile.TemporaryDirectory() as folder:
        store = await DurableExperienceStore.open(Path(folder), embedder, floor=0.0)
        recall = Recall(store, TENANT, MemorySettings(floor=0.0, patience_s=60.0))
        await store.add([_experience(problem) for problem in train if problem.reference])
        async with await WorkerPool.start(SandboxSettings()) as pool:
            other = [problem for problem in map(_reworded, train) if problem is not None]
            for name, problems in (("the same tasks in other words", other), ("other tasks", validation)):
                tries = [one for problem in problems for one in await _tries(pool, recall, problem)]
                publish(f"tests.bench.memory_floor: {name}", _rows(tries))
                print()
        await store.aclose()
    await embedder.aclose()


async def _tries(sandbox: Sandbox, recall: Recall, problem: Problem) -> list[Try]:
    shown = read_problem(problem.id, [{"role": "user", "content": problem.statement}])
    made: list[Try] = []
    for hit in (await recall.solutions(shown))[:NEAREST]:
        code = renamed(hit.experience, shown.entry_point)
        seen = await trial(sandbox, shown, code, shown.visible)
        passes = bool(shown.visible) and seen.outcome is Outcome.PASSED
        judged = await trial(sandbox, problem, code, problem.hidden) if passes else None
        made.append(Try(hit.similarity, passes, judged is not None and judged.outcome is Outcome.PASSED))
    return made


def _experience(problem: Problem) -> Experience:
    read = read_problem(problem.id, [{"role": "user", "content": problem.statement}])
    assert problem.reference is not None, "only problems with a reference are remembered"
    return remembered(
        read,
        problem.reference,
        tenant=TENANT,
        source=TestSource.REQUEST,
        passed=0,
        quality=Quality(),
        created=time.time(),
    )


def _reworded(problem: Problem) -> Problem | None:
    try:
        return by_rule(problem, seed=1).problem
    except CannotRephrase:
        return None


def _rows(tries: Sequence[Try]) -> list[dict[str, object]]:
    bins: dict[int, list[Try]] = defaultdict(list)
    for one in tries:
        bins[int(one.similarity / STEP)].append(one)
    return [
        {
            "similarity": f"{place * STEP:.2f} to {(place + 1) * STEP:.2f}",
            "programs": len(bins[place]),
            "pass the example": sum(one.passes for one in bins[place]),
            "of these right": sum(one.right for one in bins[place]),
        }
        for place in sorted(bins, reverse=True)
    ]


if __name__ == "__main__":
    asyncio.run(main())
