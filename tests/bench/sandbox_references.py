"""Do the reference solutions of HumanEval, MBPP and LeetCode pass their own tests in this sandbox?

    .venv/bin/python -m tests.bench.sandbox_references [--every 1] [--json]

runs all of them, or every Nth, with the default limits and two workers, and prints how many pass and, for each of the
others, what the verdict says.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence

from agent.sandbox.pool import WorkerPool
from agent.settings import SandboxSettings
from memory.records import Outcome, Verdict
from tests.bench.references import Reference, functions, leetcode
from tests.bench.report import publish


async def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, help="take every Nth problem of each source")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    sources: dict[str, list[Reference]] = {}
    for reference in (*functions(), *leetcode()):
        sources.setdefault(reference.id.partition("/")[0], []).append(reference)
    found: list[dict[str, object]] = []
    notes: list[str] = []
    async with await WorkerPool.start(SandboxSettings(workers=2)) as pool:
        for source, references in sources.items():
            taken = references[:: given.every]
            verdicts = await _judge(pool, taken)
            failed = {one.id: verdict for one, verdict in zip(taken, verdicts, strict=True) if not _passed(verdict)}
            passed = len(taken) - len(failed)
            share = f"{100 * passed / len(taken):.2f} %"
            found.append({"source": source, "references": len(taken), "passed": passed, "share": share})
            notes += [f"{name}: {_reason(verdict)}" for name, verdict in failed.items()]
    publish("tests.bench.sandbox_references", found, as_json=given.json, notes=notes)


async def _judge(pool: WorkerPool, references: Sequence[Reference]) -> list[Verdict]:
    runs = (pool.run(one.code, one.tests, entry_point=one.entry_point, prelude=one.prelude) for one in references)
    return await asyncio.gather(*runs)


def _passed(verdict: Verdict) -> bool:
    return verdict.outcome is Outcome.PASSED and verdict.total > 0


def _reason(verdict: Verdict) -> str:
    first = next((case for case in verdict.cases if case.outcome is not Outcome.PASSED), None)
    error = f"{verdict.error.type}: {verdict.error.message}" if verdict.error else "no test ran"
    values = f", {first.actual} instead of {first.expected}" if first and first.actual and first.expected else ""
    return f"{verdict.outcome}, {verdict.passed} of {verdict.total} passed; {error[:300]}{values[:300]}"


if __name__ == "__main__":
    asyncio.run(main())
