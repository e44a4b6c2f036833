"""The critic: how a program is likely to end, told without running it (CodeRL, arXiv 2207.01780, section 3.2).

The verdict-token critic asks the served model, or an adapter of it that was trained for this, for one word and reads
the log-probabilities of four. Where the engine tells none, a rule stands in.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from agent import prompts
from agent.calibration import Calibration
from agent.policy import Meter, Policy
from agent.task import Message
from memory.records import Candidate, Opinion
from memory.syntax import parse

VERDICTS = ("passed", "failed", "crashes", "invalid")
"""The words for the four outcomes: all tests pass, a wrong result, an exception, does not compile. No two begin with
the same token."""


@dataclass(frozen=True, slots=True)
class Written:
    """A program, or the beginning of one, to be judged."""

    code: str
    logprob: float | None = None
    """Log-probability of the answer that it stands in, by the model that wrote it. None: not known."""

    @staticmethod
    def of(candidate: Candidate) -> Written:
        """A candidate's program. Of an answer whose beginning was given the log-probability is not known."""
        return Written(candidate.code, logprob_of(candidate))


class Critic(Protocol):
    """Tells how programs, or beginnings of programs, will end."""

    async def judge(self, messages: Sequence[Message], programs: Sequence[Written], meter: Meter) -> list[Opinion]:
        """One opinion per program. `messages` is the chat that asked for it. Raises EngineUnavailable."""
        ...


class VerdictTokenCritic:
    """`Critic` by the log-probabilities of `VERDICTS` after a question about the program."""

    def __init__(self, policy: Policy, model: str, calibration: Calibration | None = None) -> None:
        """`model` as the engine knows it. Without a calibration its words are taken as they are."""
        self._policy = policy
        self._model = model
        self._calibration = calibration

    async def judge(self, messages: Sequence[Message], programs: Sequence[Written], meter: Meter) -> list[Opinion]:
        """See Critic.judge."""
        return list(await asyncio.gather(*(self._one(messages, program, meter) for program in programs)))

    async def _one(self, messages: Sequence[Message], program: Written, meter: Meter) -> Opinion:
        weights = await self._policy.weigh(prompts.verdict(messages, program.code), VERDICTS, self._model, meter)
        if weights is None:
            return by_rule(program.code)
        said = Opinion(**dict(zip(VERDICTS, weights, strict=True)), by=self._model)
        return said if self._calibration is None else _calibrated(said, program, self._calibration)


def by_rule(code: str) -> Opinion:
    """What can be said of any program: one that does not parse is invalid, all others are alike."""
    if parse(code) is None:
        return Opinion(passed=0.0, failed=0.0, crashes=0.0, invalid=1.0, by="rule")
    return Opinion(passed=0.4, failed=0.35, crashes=0.25, invalid=0.0, by="rule")


def logprob_of(candidate: Candidate) -> float | None:
    """Log-probability of the whole answer; None where the engine told none or its beginning was given."""
    return math.fsum(candidate.logprobs) if candidate.logprobs and not candidate.prefix else None


def _calibrated(said: Opinion, program: Written, calibration: Calibration) -> Opinion:
    """With another P(passed); the other three keep their proportions."""
    passed = calibration.passed(said.passed, program.logprob, program.code)
    rest = said.failed + said.crashes + said.invalid
    if rest <= 0.0:
        return replace(said, passed=passed, failed=1.0 - passed)
    scale = (1.0 - passed) / rest
    return replace(
        said,
        passed=passed,
        failed=said.failed * scale,
        crashes=said.crashes * scale,
        invalid=said.invalid * scale,
    )
