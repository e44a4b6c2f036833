"""The two records that training passes on: an attempt as tokens, and what each of its tokens is worth.

Ids and log-probabilities are those that the engine reported; sampled text is never tokenised again. Standard library
and records only.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from memory.records import Outcome


class OutcomeClass(IntEnum):
    """The four classes that all rewards rest on (CodeRL, arXiv 2207.01780, section 3.2)."""

    COMPILE_ERROR = 0
    RUNTIME_ERROR = 1
    FAILED_TEST = 2
    PASSED = 3


_CLASSES = {
    Outcome.COMPILE_ERROR: OutcomeClass.COMPILE_ERROR,
    Outcome.RUNTIME_ERROR: OutcomeClass.RUNTIME_ERROR,
    Outcome.TIMEOUT: OutcomeClass.RUNTIME_ERROR,
    Outcome.MEMORY_LIMIT: OutcomeClass.RUNTIME_ERROR,
    Outcome.OUTPUT_LIMIT: OutcomeClass.RUNTIME_ERROR,
    Outcome.FAILED_TEST: OutcomeClass.FAILED_TEST,
    Outcome.PASSED: OutcomeClass.PASSED,
}


def outcome_class(outcome: Outcome) -> OutcomeClass:
    """The class of an outcome. Raises KeyError for `sandbox_error`, which is never training data."""
    return _CLASSES[outcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSample:
    """One attempt, token by token. Tuples of the second group have the length of `completion_ids`."""

    id: str
    """`trajectory id/attempt`; of a reference solution `reference/problem id`."""
    problem_id: str
    family: str
    """Similar problems share it; training and held-out data are split by it."""
    trajectory_id: str = ""
    attempt: int = 0
    kind: Literal["sampled", "reference"] = "sampled"
    """reference: the problem's own solution, tokenised here; it has no log-probabilities and no verdict."""
    origin: str = "sample"
    """As `Attempt.origin`."""
    policy_version: str = ""
    """The model that sampled it, as the engine names it."""
    temperature: float = 1.0
    finish_reason: str = "stop"
    outcome: Outcome
    passed: int = 0
    total: int = 0
    error: str = ""
    """Exception class of the failure, or the outcome where there is none."""
    quality: float = 0.0
    """Bonus of a passing program, 0 to 0.3 (algorithms: composite reward)."""
    prompt_ids: tuple[int, ...]

    completion_ids: tuple[int, ...]
    behaviour_logprobs: tuple[float, ...] = ()
    """Raw log-probability of each token when it was sampled; empty for a reference."""
    sampled: tuple[bool, ...]
    """False for tokens that were given to the policy (a curriculum's beginning): no policy gradient."""
    program: tuple[bool, ...]
    """The token lies in the program."""
    blamed: tuple[bool, ...]
    """The token lies in the span that the error is blamed on (RLTF); all False where nothing is blamed."""
    executed: tuple[bool, ...]
    """The token's statement ran in some test, or it is outside the program (StepCoder); where nothing ran all True."""
    critic: tuple[float, ...] = ()
    """The critic's probability of the outcome that really happened, after each token; empty without a critic."""

    @property
    def greedy(self) -> bool:
        """Whether it is the greedy attempt of its problem: the baseline of others."""
        return self.kind == "sampled" and self.temperature == 0.0

    @property
    def outcome_class(self) -> OutcomeClass:
        """The class of its outcome."""
        return outcome_class(self.outcome)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenStreams:
    """What the trainer does with one sample. Tuples have the length of its `completion_ids`; empty means all zero."""

    advantage: tuple[float, ...] = ()
    """A_t: how much more of this token is wanted; negative: less."""
    pg_weight: tuple[float, ...] = ()
    """Share of the token in the policy gradient; 0: none."""
    ce_weight: tuple[float, ...] = ()
    """Share of the token in the cross-entropy."""
    kl_weight: tuple[float, ...] = ()
    """Share of the token in the divergence from the base model."""

    @property
    def empty(self) -> bool:
        """Whether nothing would be learned from it."""
        pushed = any(weight * amount for weight, amount in zip(self.pg_weight, self.advantage, strict=True))
        return not pushed and not any(self.ce_weight)
