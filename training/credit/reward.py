"""Rewards, baselines, and the weight of a token that CodeRL, RLTF, StepCoder and FALCON share.

    A_t = C_t * M_t * q_t * (R(u, pass share) + [u = passed] * Q - b - w * alpha * m_t),  alpha = min(T / n_span, cap)

C_t: the policy sampled the token; M_t: its statement ran; q_t: the critic's probability of the outcome that happened;
R: the reward; Q: quality; b: the baseline; m_t: the token is blamed. T and n_span count tokens after C_t and M_t.

Sources: the four rewards are CodeRL's (arXiv 2207.01780), the adaptive one and the fine term RLTF's (arXiv 2307.04349),
the executed mask StepCoder's (arXiv 2402.01391), the quality bonus ours in place of FALCON's (arXiv 2410.21349).

Deviations. alpha is computed (in RLTF's code it is always 1) and capped. Every sampled token of the answer counts, text
around the program and the end of the turn included: an answer without a program has nothing else that could be blamed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from memory.records import Outcome
from training.sample import OutcomeClass, TokenSample, TokenStreams

REWARDS = {
    OutcomeClass.COMPILE_ERROR: -1.0,
    OutcomeClass.RUNTIME_ERROR: -0.6,
    OutcomeClass.FAILED_TEST: -0.3,
    OutcomeClass.PASSED: 1.0,
}
MAX_QUALITY = 0.3

Baseline = Literal["greedy", "group_mean", "none"]


def judged(sample: TokenSample) -> bool:
    """Whether a sample is the policy's and has an outcome of its own: our own failures are no reward."""
    return sample.kind == "sampled" and sample.outcome is not Outcome.SANDBOX_ERROR


def learners(group: Sequence[TokenSample]) -> list[TokenSample]:
    """The judged samples that were drawn, not decoded greedily: those the policy gradient is made of."""
    return [sample for sample in group if judged(sample) and not sample.greedy]


def reward(sample: TokenSample, *, adaptive: bool = False, quality: bool = False) -> float:
    """The reward of a sample. `adaptive`: a failed test costs less the more tests pass, -0.3 + 1.3 * share. `quality`:
    a passing program has its bonus, 0 to 0.3. Raises KeyError for `sandbox_error`."""
    kind = sample.outcome_class
    if kind is OutcomeClass.PASSED:
        return REWARDS[kind] + (min(max(sample.quality, 0.0), MAX_QUALITY) if quality else 0.0)
    if kind is OutcomeClass.FAILED_TEST and adaptive and sample.total:
        return REWARDS[kind] + 1.3 * sample.passed / sample.total
    return REWARDS[kind]


def baseline(
    group: Sequence[TokenSample], kind: Baseline, *, adaptive: bool = False, quality: bool = False
) -> float | None:
    """What the samples of a group are compared with, by the same reward. None: the group has no such baseline (no
    greedy sample with a verdict), so nothing can be said of its samples."""
    if kind == "none":
        return 0.0
    chosen = [one for one in group if judged(one) and one.greedy][:1] if kind == "greedy" else learners(group)
    if not chosen:
        return None
    return sum(reward(one, adaptive=adaptive, quality=quality) for one in chosen) / len(chosen)


def mask(sample: TokenSample, *, executed: bool = False) -> tuple[bool, ...]:
    """C_t, times M_t if `executed`."""
    if not executed:
        return sample.sampled
    return tuple(drawn and ran for drawn, ran in zip(sample.sampled, sample.executed, strict=True))


def pushed(
    sample: TokenSample,
    advantage: float,
    *,
    executed: bool = False,
    critic: bool = False,
    normalise: bool = False,
    fine: float = 0.0,
    cap: float = 8.0,
    kl: float = 0.0,
) -> TokenStreams:
    """The streams of a sample whose reward lies `advantage` above its baseline; empty if no token is pushed.

    `executed`: with M_t. `critic`: with q_t where the sample has it; `normalise`: divided by its mean over the weighted
    tokens. `fine`: w. `cap`: of alpha. `kl`: weight of the divergence from the base model, on the tokens with C_t.
    """
    counted = mask(sample, executed=executed)
    belief = sample.critic if critic and sample.critic else (1.0,) * len(counted)
    if normalise:
        used = [q for q, one in zip(belief, counted, strict=True) if one]
        mean = sum(used) / len(used) if used else 1.0
        belief = tuple(q / mean for q in belief) if mean else belief
    span = [one and blamed for one, blamed in zip(counted, sample.blamed, strict=True)]
    alpha = min(sum(counted) / sum(span), cap) if any(span) else 0.0
    amounts = tuple(
        q * (advantage - fine * alpha * blamed) if one else 0.0
        for one, q, blamed in zip(counted, belief, span, strict=True)
    )
    if not any(amounts):
        return TokenStreams()
    return TokenStreams(
        advantage=amounts,
        pg_weight=tuple(float(one) for one in counted),
        kl_weight=tuple(kl * one for one in sample.sampled) if kl else (),
    )


def imitated(sample: TokenSample) -> TokenStreams:
    """Cross-entropy on every token that was not given."""
    return TokenStreams(
        advantage=(0.0,) * len(sample.sampled),
        pg_weight=(0.0,) * len(sample.sampled),
        ce_weight=tuple(float(one) for one in sample.sampled),
    )
