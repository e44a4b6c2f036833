"""A template that has played runs: adapted to them, and else as before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

_SCRIPT = """
import gc, json, os, signal, sys, warnings

from agent.sandbox.judge import judge
from agent.sandbox.program import candidate
from agent.sandbox.suite.recorder import Recorder
from agent.sandbox.walls import adaptation

def held():
    gc.collect()
    return {
        "modules": sorted(sys.modules),
        "main": sys.modules["__main__"].__name__,
        "finders": len(sys.meta_path),
        "filters": len(warnings.filters),
        "arguments": sys.argv,
        "recursion": sys.getrecursionlimit(),
        "timer": signal.getitimer(signal.ITIMER_REAL),
        "descriptors": sorted(os.listdir("/proc/self/fd")),
        "stdin": os.readlink("/proc/self/fd/0"),
    }

def adapted(function):
    return function.__code__._co_code_adaptive != function.__code__.co_code

candidate.settle()
if sys.argv[1] == "to_judges":
    judge.settle()
before = held()
getattr(adaptation, sys.argv[1])()
os.write(1, json.dumps({
    "before": before,
    "after": held(),
    "program": adapted(candidate._Program._execute),
    "judge": adapted(judge._judge),
    "passed": adapted(Recorder.passed),
    "failed": adapted(Recorder.fail),
}).encode())
"""


@pytest.mark.parametrize(("role", "judges"), [("to_candidates", False), ("to_judges", True)])
def test_a_template_adapts_and_else_stays_as_it_was(role: str, judges: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", _SCRIPT, role],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    told = json.loads(done.stdout)

    assert told["after"] == told["before"]
    assert told["program"] is not judges
    assert told["judge"] is told["passed"] is judges
    assert not told["failed"]
    assert not done.stderr
