"""Random prompts through the example finder: nothing may raise, take long or expect what the prompt does not say.

    .venv/bin/python -m tests.fuzz.examples [--inputs 100000] [--seed 1]

Every test found must also be one that the sandbox accepts. Prints counts; exit status 1 and the prompt at the first
fault.
"""

from __future__ import annotations

import argparse
import random
import sys
import time

from agent.sandbox import plan
from agent.task import read_problem
from tests.fuzz.invention import invented
from tests.fuzz.prompts import prompt

_SECONDS = 2.0
"""One prompt of at most 6,000 characters, on a busy machine."""


def main() -> int:
    """Exit status: 0 if nothing was found to be wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    chance, real = random.Random(given.seed), _real()
    began, slowest, with_tests, tests = time.perf_counter(), 0.0, 0, 0
    for number in range(given.inputs):
        text = prompt(chance, real)
        started = time.perf_counter()
        fault, found = _fault(text)
        seconds = time.perf_counter() - started
        slowest = max(slowest, seconds)
        with_tests, tests = with_tests + bool(found), tests + found
        if fault is None and seconds > _SECONDS:
            fault = f"took {seconds:.1f} s"
        if fault is not None:
            print(f"input {number} (seed {given.seed}): {fault}\n{text!r}")
            return 1
    print(
        f"{given.inputs:,} inputs (seed {given.seed}): no fault; {with_tests:,} with a test, {tests:,} tests; "
        f"{time.perf_counter() - began:.0f} s, slowest {slowest * 1000:.0f} ms"
    )
    return 0


def _fault(text: str) -> tuple[str | None, int]:
    try:
        problem = read_problem("fuzz", [{"role": "user", "content": text}])
        plan.make(problem.visible, entry_point=problem.entry_point, prelude="")
    except Exception as error:
        return f"raised {type(error).__name__}: {error}", 0
    for test in problem.visible:
        missing = invented(test, text)
        if missing is not None:
            return f"{test} expects {missing!r}, which stands nowhere", 0
    return None, len(problem.visible)


def _real() -> list[str]:
    """Prompts of the benchmark files, where they are, as raw material."""
    from agent.problems import load
    from tests.data import data_file

    names = ("humaneval.jsonl.gz", "mbpp_validation.jsonl.gz", "apps_sample")
    return [problem.statement for name in names for problem in load(data_file(name))]


if __name__ == "__main__":
    sys.exit(main())
