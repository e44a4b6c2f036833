"""A program that answers a problem, run with what the problem's statement gives it."""

from __future__ import annotations

from collections.abc import Sequence

from agent.prelude import needed
from agent.sandbox.contract import Sandbox
from memory.records import Limits, Problem, Test, Verdict


async def trial(
    sandbox: Sandbox,
    problem: Problem,
    code: str,
    tests: Sequence[Test],
    *,
    limits: Limits | None = None,
    owner: str = "",
) -> Verdict:
    """The verdict of `tests`, within the problem's limits if no others are given. Raises what `Sandbox.run` raises."""
    return await sandbox.run(
        code,
        tests,
        entry_point=problem.entry_point,
        prelude=needed(problem.prelude, code),
        limits=limits or problem.limits,
        owner=owner,
    )
