"""A second opinion on a program, from an interpreter without isolation. Only for programs that nobody hostile wrote."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from memory.records import Outcome

_CHILD = Path(__file__).with_name("plain_child.py")
_INTERPRETER = Path(sys.executable).resolve()
_WALL_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Opinion:
    """How a program ended outside the sandbox."""

    outcome: Outcome
    detail: str


def judge(code: str, test: str, entry_point: str, *, cpu_seconds: int, memory_mb: int) -> Opinion:
    """Run `test`, which defines `check`, on the program in a fresh interpreter with these limits."""
    order = {
        "code": code,
        "test": test,
        "entry_point": entry_point,
        "cpu_seconds": cpu_seconds,
        "memory_mb": memory_mb,
    }
    with tempfile.TemporaryDirectory() as folder:
        try:
            ended = subprocess.run(
                [_INTERPRETER, "-s", "-P", _CHILD],
                input=json.dumps(order),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                cwd=folder,
                env={"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"},
                timeout=_WALL_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Opinion(Outcome.TIMEOUT, "wall clock")
    if ended.stdout:
        told = json.loads(ended.stdout)
        return Opinion(Outcome(told["outcome"]), told["detail"])
    if ended.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return Opinion(Outcome.TIMEOUT, "CPU limit")
    return Opinion(Outcome.RUNTIME_ERROR, f"ended with status {ended.returncode}")
