"""Experiences for tests."""

from __future__ import annotations

from typing import Any

from memory.records import Experience, TestSource


def solution(number: int | str, gist: str = "", **fields: Any) -> Experience:
    """A solution of problem `number`; its program and its gist are its own."""
    given = {
        "id": f"solution-{number}",
        "kind": "solution",
        "tenant": "local",
        "problem": f"problem-{number}",
        "gist": gist or f"Write a function that solves task number_{number}",
        "code": f"def task_{number}(x):\n    return x + {number!r}\n",
        "source": TestSource.REQUEST,
        "passed": 3,
        "total": 3,
        "signature": f"def task_{number}(x):",
        "trajectory_id": f"trajectory-{number}",
        "created": float(number) if isinstance(number, int) else 0.0,
    }
    return Experience(**{**given, **fields})


def lesson(number: int, error: str = "TypeError", **fields: Any) -> Experience:
    """How an error was overcome."""
    given = {
        "id": f"lesson-{number}",
        "kind": "lesson",
        "error": error,
        "message": f"unsupported operand number_{number}",
        "blamed": f"return x + y_{number}",
        "fix": f"--- a\n+++ b\n@@ -1 +1 @@\n-return x + y_{number}\n+return x + int(y_{number})\n",
    }
    return solution(number, **{**given, **fields})
