"""The prompts, as pure functions of records: what is shared stands first so that the engine's prefix cache helps."""

from __future__ import annotations

from collections.abc import Sequence

from agent.feedback import describe
from agent.task import Message
from memory.records import Attempt, Verdict


def first(messages: Sequence[Message]) -> list[Message]:
    """The chat as the client sent it."""
    return list(messages)


def repair(messages: Sequence[Message], attempt: Attempt, verdict: Verdict) -> list[Message]:
    """The chat, the failed program as the assistant's turn, and what is wrong with it."""
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
