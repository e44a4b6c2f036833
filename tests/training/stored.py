"""A trajectory as `collect` stores it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from memory.records import Attempt, CodeTest, Problem, Trajectory


def trajectory(
    attempts: Sequence[Attempt], number: int = 1, *, version: str, consent: bool = True, **more: Any
) -> Trajectory:
    """Of a problem that is like no other number's; `more` are fields of the problem."""
    stated = {
        "id": f"p{number}",
        "statement": f"Task {number}: " + " ".join(f"word{number}x{place}" for place in range(20)),
        "entry_point": "f",
        "hidden": (CodeTest(source="def check(c): pass", runner="check"),),
    }
    return Trajectory(
        id=f"t{number}",
        problem=Problem(**{**stated, **more}),
        attempts=tuple(attempts),
        accepted=0,
        status="finished",
        model_version=version,
        tenant="collect",
        consent=consent,
        started=float(number),
        ended=float(number),
        rounds=0,
    )
