"""Does this sandbox judge like a plain interpreter? References of HumanEval and MBPP and their mutants, judged twice.

    .venv/bin/python -m tests.bench.sandbox_mutants --out RESULT.jsonl [--mutants 3] [--every 1] [--json]

runs every program in the sandbox and in a fresh interpreter without isolation (`plain.py`), with the same limits, two
programs at a time. Each result is a line of RESULT.jsonl; a run that is started again goes on where it stopped.
Compared are whether the program passes and, where it does not, how its first failing test ended. Prints both shares and
every disagreement with what both sides said.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from agent.sandbox.pool import WorkerPool
from agent.settings import SandboxSettings
from memory.records import Limits, Outcome, Verdict
from tests.bench import plain
from tests.bench.mutate import mutants
from tests.bench.references import Reference, functions
from tests.bench.report import publish

_AT_ONCE = 2
_CPU_SECONDS = 3
_LIMITS = Limits(cpu_seconds_per_test=_CPU_SECONDS, cpu_seconds=_CPU_SECONDS)


@dataclass(frozen=True, slots=True)
class Result:
    """One program and what both sides found."""

    id: str
    """The problem's id and the number of the mutant; 0 is the reference itself."""
    code: str
    sandbox: str
    sandbox_detail: str
    plain: str
    plain_detail: str

    @property
    def agrees(self) -> bool:
        """Whether both found the program right, or both wrong."""
        return (self.sandbox == Outcome.PASSED) is (self.plain == Outcome.PASSED)


async def main() -> None:
    """Judge what is not in the file yet, then compare all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--mutants", type=int, default=3, help="of each reference")
    parser.add_argument("--every", type=int, default=1, help="take every Nth problem")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    programs = {
        f"{reference.id}#{number}": (reference, code)
        for reference in functions()[:: given.every]
        for number, code in enumerate([reference.code, *mutants(reference.code, given.mutants, reference.id)])
    }
    known = _known(given.out)
    waiting = [name for name, (_, code) in programs.items() if name not in known or known[name].code != code]
    turn = asyncio.Semaphore(_AT_ONCE)
    with given.out.open("a") as file:
        async with await WorkerPool.start(SandboxSettings(workers=_AT_ONCE)) as pool:

            async def one(name: str) -> None:
                async with turn:
                    known[name] = await _judge(pool, name, *programs[name])
                file.write(json.dumps(asdict(known[name])) + "\n")
                file.flush()
                print(f"\r{len(known)} judged", end="", file=sys.stderr)

            await asyncio.gather(*(one(name) for name in waiting))
    results = [known[name] for name in programs]
    notes = [_note(result) for result in results if result.sandbox != result.plain]
    publish("tests.bench.sandbox_mutants", _rows(results), as_json=given.json, notes=notes)


def _known(file: Path) -> dict[str, Result]:
    lines = file.read_text().splitlines() if file.exists() else []
    results = (Result(**json.loads(line)) for line in lines)
    return {result.id: result for result in results}


async def _judge(pool: WorkerPool, name: str, reference: Reference, code: str) -> Result:
    verdict = await pool.run(code, reference.tests, entry_point=reference.entry_point, limits=_LIMITS)
    opinion = await asyncio.to_thread(
        plain.judge,
        code,
        reference.test,
        reference.entry_point,
        cpu_seconds=_CPU_SECONDS,
        memory_mb=_LIMITS.memory_mb,
    )
    outcome, detail = _first(verdict)
    return Result(name, code, outcome.value, detail, opinion.outcome.value, opinion.detail)


def _first(verdict: Verdict) -> tuple[Outcome, str]:
    """How the first test that did not pass ended: a plain interpreter stops there."""
    for case in verdict.cases:
        if case.outcome is not Outcome.PASSED:
            values = f" ({case.actual} instead of {case.expected})" if case.actual or case.expected else ""
            return case.outcome, f"{case.name}: {case.message}{values}"
    return verdict.outcome, verdict.error.message if verdict.error else ""


def _rows(results: list[Result]) -> list[dict[str, object]]:
    kinds = {"references": [], "mutants": []}  # type: dict[str, list[Result]]
    for result in results:
        kinds["references" if result.id.endswith("#0") else "mutants"].append(result)
    return [
        {
            "programs": kind,
            "judged": len(some),
            "passed in both": sum(result.sandbox == result.plain == Outcome.PASSED for result in some),
            "passed or not: agree": _share(sum(result.agrees for result in some), len(some)),
            "and same end": _share(sum(result.sandbox == result.plain for result in some), len(some)),
            "sandbox errors": sum(result.sandbox == Outcome.SANDBOX_ERROR for result in some),
        }
        for kind, some in kinds.items()
        if some
    ]


def _share(part: int, whole: int) -> str:
    return f"{part} ({100 * part / whole:.2f} %)"


def _note(result: Result) -> str:
    weight = "same end not" if result.agrees else "PASSED OR NOT"
    return (
        f"{result.id} ({weight}): sandbox {result.sandbox}: {result.sandbox_detail[:300]}; "
        f"plain {result.plain}: {result.plain_detail[:300]}"
    )


if __name__ == "__main__":
    asyncio.run(main())
