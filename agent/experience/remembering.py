"""What a finished trajectory leaves in long-term memory: its verified program, and how failures became it.

No model is asked. Only programs that passed every test of the request or its prompt count, judged out of their reach;
what the model's own tests say is no verification. Problems of benchmarks leave nothing.
"""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import replace

from agent.experience.failure import Failure, failure
from agent.experience.gist import gist, signature
from agent.prelude import needed
from agent.select import is_solved
from memory.benchmarks import is_benchmark
from memory.fingerprint import fingerprint
from memory.records import Attempt, Experience, Problem, Quality, TestSource, Trajectory

MAX_CHARS = 8_000
"""A longer program is no example that a prompt could hold."""
_MAX_LESSONS = 2
_LIKENESS = 0.5
"""Of a failed program and the verified one; less is another program, not a correction."""
_TRUSTED = (TestSource.REQUEST, TestSource.PROMPT)


def experiences(trajectory: Trajectory, quality: Quality) -> list[Experience]:
    """The solution first, then the lessons; none where nothing was verified. `quality` is the accepted program's."""
    answer = verified(trajectory)
    if answer is None or is_benchmark(trajectory.problem.statement):
        return []
    program = _alone(trajectory.problem, answer.candidate.code)
    if len(program) > MAX_CHARS or is_benchmark(program):
        return []
    solution = remembered(
        trajectory.problem,
        program,
        tenant=trajectory.tenant,
        source=trajectory.problem.visible_source,
        passed=len(trajectory.problem.visible),
        quality=quality,
        model_version=answer.candidate.sampling.model,
        trajectory_id=trajectory.id,
        created=trajectory.ended,
    )
    return [solution, *(_lesson(solution, failed, fix) for failed, fix in _overcome(trajectory, program))]


def remembered(
    problem: Problem,
    code: str,
    *,
    tenant: str,
    source: TestSource,
    passed: int,
    quality: Quality,
    created: float,
    model_version: str = "",
    trajectory_id: str = "",
) -> Experience:
    """A solution. The same program for the same statement is the same experience, whichever request it came from."""
    known = fingerprint(problem.statement)
    return Experience(
        id=_id(tenant, known, code),
        kind="solution",
        tenant=tenant,
        problem=known,
        gist=gist(problem),
        code=code,
        source=source,
        passed=passed,
        total=len(problem.visible),
        signature=signature(code, problem.entry_point),
        quality=quality,
        model_version=model_version,
        trajectory_id=trajectory_id,
        created=created,
    )


def owned(experience: Experience, tenant: str) -> Experience:
    """A copy for another tenant."""
    if experience.tenant == tenant:
        return experience
    return replace(experience, id=_id(tenant, experience.id), tenant=tenant, trajectory_id="")


def verified(trajectory: Trajectory) -> Attempt | None:
    """The accepted attempt, if it was made for this request and its tests are worth trusting."""
    if trajectory.accepted is None or trajectory.problem.visible_source not in _TRUSTED:
        return None
    answer = trajectory.attempts[trajectory.accepted]
    trusted = is_solved(answer) and answer.verdict is not None and answer.verdict.integrity == "isolated"
    return answer if trusted and answer.origin != "recalled" else None


def _lesson(solution: Experience, failed: Failure, fix: str) -> Experience:
    return replace(
        solution,
        id=_id(solution.id, failed.kind, failed.message, failed.blamed),
        kind="lesson",
        error=failed.kind,
        message=failed.message,
        blamed=failed.blamed,
        fix=fix,
    )


def _overcome(trajectory: Trajectory, program: str) -> list[tuple[Failure, str]]:
    """Failures, and the diffs to the verified program: the nearest programs, each kind of failure once."""
    after = program.strip("\n").split("\n")
    candidates: list[tuple[float, Failure, str]] = []
    for attempt in trajectory.attempts:
        failed = failure(attempt)
        if failed is None or not attempt.candidate.code:
            continue
        before = _alone(trajectory.problem, attempt.candidate.code).strip("\n").split("\n")
        likeness = difflib.SequenceMatcher(None, before, after, autojunk=False).ratio()
        if likeness >= _LIKENESS:
            candidates.append((likeness, failed, "\n".join(difflib.unified_diff(before, after, lineterm="", n=2))))
    chosen: dict[str, tuple[Failure, str]] = {}
    for _, failed, fix in sorted(candidates, key=lambda one: -one[0]):
        chosen.setdefault(failed.kind, (failed, fix))
    return list(chosen.values())[:_MAX_LESSONS]


def _alone(problem: Problem, code: str) -> str:
    """The program with the imports and helpers that it takes from its problem."""
    missing = needed(problem.prelude, code)
    return f"{missing}\n{code}" if missing else code


def _id(*parts: str) -> str:
    return f"exp_{hashlib.sha256(chr(0).join(parts).encode('utf-8', 'replace')).hexdigest()[:32]}"
