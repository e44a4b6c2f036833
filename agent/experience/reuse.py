"""Remembered programs tried as they are: the tests of this request decide, and no token is spent."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from agent.run import Run
from agent.sandbox.contract import Sandbox
from agent.select import is_solved
from agent.task import Message
from agent.trial import trial
from memory.experience import Recalled
from memory.fingerprint import fingerprint
from memory.records import Attempt, Candidate, Experience, Problem, Sampling
from memory.syntax import parse

_AGAIN_S = 600.0
"""Who sends the very same words again so soon wants another answer."""
_MOST = 3
_HEADER = re.compile(r"(?:def|class)\s+(\w+)")


async def reused(
    recalled: Sequence[Recalled],
    floor: float,
    problem: Problem,
    messages: Sequence[Message],
    sandbox: Sandbox,
    run: Run,
) -> list[Attempt]:
    """The first remembered program that passes all visible tests, as an attempt; empty if none does.

    Only for a task that has tests and stands alone: a later turn of a talk asks for something else than before.
    """
    if not problem.visible or any(message["role"] == "assistant" for message in messages):
        return []
    asked = fingerprint(problem.statement)
    for hit in [hit for hit in recalled if hit.similarity >= floor][:_MOST]:
        experience = hit.experience
        if experience.problem == asked and time.time() - experience.created < _AGAIN_S:
            continue
        code = renamed(experience, problem.entry_point)
        with run.busy("sandbox"):
            verdict = await trial(sandbox, problem, code, problem.visible, owner=run.owner)
        attempt = Attempt(
            candidate=_candidate(code, experience),
            verdict=verdict,
            origin="recalled",
            round=0,
            shown=(experience.id,),
        )
        if is_solved(attempt):
            return [attempt]
    return []


def renamed(experience: Experience, entry_point: str | None) -> str:
    """The remembered program under the name that is asked for."""
    header = _HEADER.match(experience.signature)
    if header is None or entry_point is None or header[1] == entry_point:
        return experience.code
    code = re.sub(rf"\b{re.escape(header[1])}\b", entry_point, experience.code)
    return code if parse(code) is not None else experience.code


def _candidate(code: str, experience: Experience) -> Candidate:
    head = "```python\n"
    return Candidate(
        text=f"{head}{code}\n```",
        code=code,
        code_start=len(head),
        prompt_ids=(),
        completion_ids=(),
        logprobs=(),
        prompt_tokens=0,
        completion_tokens=0,
        finish_reason="stop",
        sampling=Sampling(model=experience.model_version, temperature=0.0),
    )
