"""The critic: how a program is likely to end, told without running it (CodeRL, arXiv 2207.01780, section 3.2).

The verdict-token critic asks the served model, or an adapter of it that was trained for this, for one word and reads
the log-probabilities of four. Where the engine tells none, a rule stands in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from agent import prompts
from agent.policy import Meter, Policy
from agent.task import Message
from memory.records import Opinion
from memory.syntax import parse

VERDICTS = ("passed", "failed", "crashes", "invalid")
"""The words for the four outcomes: all tests pass, a wrong result, an exception, does not compile. No two begin with
the same token."""


class Critic(Protocol):
    """Tells how programs, or beginnings of programs, will end."""

    async def judge(self, messages: Sequence[Message], codes: Sequence[str], meter: Meter) -> list[Opinion]:
        """One opinion per program. `messages` is the chat that asked for it. Raises EngineUnavailable."""
        ...


class VerdictTokenCritic:
    """`Critic` by the log-probabilities of `VERDICTS` after a question about the program."""

    def __init__(self, policy: Policy, model: str) -> None:
        self._policy = policy
        self._model = model

    async def judge(self, messages: Sequence[Message], codes: Sequence[str], meter: Meter) -> list[Opinion]:
        """See Critic.judge."""
        return list(await asyncio.gather(*(self._one(messages, code, meter) for code in codes)))

    async def _one(self, messages: Sequence[Message], code: str, meter: Meter) -> Opinion:
        weights = await self._policy.weigh(prompts.verdict(messages, code), VERDICTS, self._model, meter)
        return (
            by_rule(code) if weights is None else Opinion(**dict(zip(VERDICTS, weights, strict=True)), by=self._model)
        )


def by_rule(code: str) -> Opinion:
    """What can be said of any program: one that does not parse is invalid, all others are alike."""
    if parse(code) is None:
        return Opinion(passed=0.0, failed=0.0, crashes=0.0, invalid=1.0, by="rule")
    return Opinion(passed=0.4, failed=0.35, crashes=0.25, invalid=0.0, by="rule")
