"""What recording the executed statements costs a program, on each version of Python.

    .venv/bin/python -m tests.bench.sandbox_coverage [--rounds 5] [--json] [INTERPRETER ...]

runs four programs with and without `agent/sandbox/trace.py`, in turns, each run in a process of its own, and prints the
ratio of the CPU times of execution (1.00 is no cost) and the milliseconds that preparing adds to compiling. Figures are
medians. Without interpreters it measures the one that runs it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.report import publish

_REPOSITORY = Path(__file__).parents[2]
_CHILD = Path(__file__).with_name("traced_child.py")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("interpreters", nargs="*", default=[sys.executable])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found: list[dict[str, object]] = []
    for interpreter in given.interpreters:
        child = [interpreter, "-I", "-S", _CHILD, _REPOSITORY, str(given.rounds)]
        told = json.loads(subprocess.run(child, capture_output=True, text=True, check=True).stdout)
        found += [_row(told, name, samples) for name, samples in told["programs"].items()]
    publish("tests.bench.sandbox_coverage", found, as_json=given.json)


def _row(told: dict[str, Any], name: str, samples: dict[str, list[list[float]]]) -> dict[str, object]:
    plain, traced = ([median(part) for part in zip(*samples[kind], strict=True)] for kind in ("plain", "traced"))
    return {
        "Python": told["version"],
        "method": told["method"],
        "program": name,
        "CPU ms without": round(1000 * plain[1]),
        "CPU ms with": round(1000 * traced[1]),
        "ratio": round(traced[1] / plain[1], 2),
        "preparing, ms": round(1000 * (traced[0] - plain[0]), 2),
    }


if __name__ == "__main__":
    main()
