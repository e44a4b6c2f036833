"""The text that is returned: what the model wrote, with the imports or helpers its program lacked put before it."""

from __future__ import annotations

from agent.prelude import needed
from memory.records import Candidate, Problem


def answer_text(candidate: Candidate, problem: Problem) -> str:
    """The candidate's text such that the program inside it is the program that was executed."""
    missing = needed(problem.prelude, candidate.code) if candidate.code else ""
    if not missing:
        return candidate.text
    head, tail = candidate.text[: candidate.code_start], candidate.text[candidate.code_start :]
    return f"{head}{missing}\n{tail}"
