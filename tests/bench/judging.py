"""How a benchmark judges a sample: by what the prompt shows, and by the hidden tests."""

from __future__ import annotations

from agent.sandbox.contract import Sandbox
from agent.trial import trial
from memory.records import Candidate, Outcome, Problem, Verdict


async def seen(sandbox: Sandbox, problem: Problem, candidate: Candidate) -> Verdict | None:
    """The verdict of the prompt's examples; None for an answer without a program."""
    return await trial(sandbox, problem, candidate.code, problem.visible) if candidate.code else None


async def is_right(sandbox: Sandbox, problem: Problem, candidate: Candidate) -> bool:
    """Whether the hidden tests pass."""
    verdict = await sandbox.run(
        candidate.code,
        problem.hidden,
        entry_point=problem.entry_point,
        prelude=problem.prelude,
        limits=problem.limits,
    )
    return verdict.outcome is Outcome.PASSED
