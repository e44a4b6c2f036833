"""The prompts, as pure functions of records: what is shared stands first so that the engine's prefix cache helps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent.feedback import describe
from agent.stub import opening
from agent.task import Message
from memory.records import Attempt, Problem, Verdict

FENCE = "```python\n"


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model is asked, and the beginning of its answer, which it goes on from."""

    messages: tuple[Message, ...]
    prefix: str = ""


def first(messages: Sequence[Message]) -> Prompt:
    """The chat as the client sent it."""
    return Prompt(tuple(messages))


def begun(messages: Sequence[Message], problem: Problem) -> Prompt:
    """The chat, with the answer begun as code: up to where the statement leaves its own code unfinished."""
    return Prompt(tuple(messages), FENCE + (opening(problem.statement, problem.entry_point) or ""))


def continued(messages: Sequence[Message], seed: str) -> Prompt:
    """The chat, with the beginning of a program as the beginning of the answer (CodeRL's seeds)."""
    return Prompt(tuple(messages), FENCE + seed)


def repair(messages: Sequence[Message], attempt: Attempt, verdict: Verdict) -> Prompt:
    """The chat, the failed program as the assistant's turn, and what is wrong with it."""
    return Prompt(tuple(_repair(messages, attempt, verdict)), FENCE)


def _repair(messages: Sequence[Message], attempt: Attempt, verdict: Verdict) -> list[Message]:
    program = attempt.candidate.code.strip() or attempt.candidate.text
    return [
        *messages,
        {"role": "assistant", "content": f"```python\n{program}\n```"},
        {
            "role": "user",
            "content": f"{describe(attempt.candidate, verdict)}\n\n"
            "Correct the program. Answer with the whole corrected program in one ```python block.",
        },
    ]


def verdict(messages: Sequence[Message], code: str) -> list[Message]:
    """A question about a program, or the beginning of one, that one of `critic.VERDICTS` answers."""
    return [
        *messages,
        {"role": "assistant", "content": f"```python\n{code.strip()}\n```"},
        {
            "role": "user",
            "content": "Hidden tests are run on this program. How does it end? Answer with one word: "
            "passed (all results are right), failed (a result is wrong), crashes (an exception), "
            "invalid (it does not compile).",
        },
    ]


def tests(messages: Sequence[Message], name: str, count: int) -> list[Message]:
    """A request for tests instead of the program."""
    *before, last = messages
    return [
        *before,
        {
            "role": last["role"],
            "content": f"{last['content']}\n\nDo not write the program. Write {count} tests for `{name}`, each one "
            f"line of the form `assert {name}(...) == ...` with literal values: ordinary cases first, then edge cases. "
            "Answer with the asserts in one ```python block.",
        },
    ]
