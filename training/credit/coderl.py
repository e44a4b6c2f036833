"""CodeRL (arXiv 2207.01780): a program is compared with the greedy one, its tokens are weighed by the critic.

Equations in reading order: the loss is cross-entropy on reference solutions plus the policy-gradient loss; the reward
is one of four constants by outcome; the return is the reward minus that of the greedy program; the weight of a token is
the return times the critic's probability, at that token, of the outcome that really happened. q_t scales, it never
turns the sign.

Deviations. Both parts stand in one batch instead of alternating. Without a critic q_t is 1. `normalise_q` takes back
that an untrained critic (q about 0.25) divides the step by four. Importance weights (training/losses.py): samples may
be of an earlier version. A group without a greedy sample yields nothing; choose another baseline for such data.
"""

from __future__ import annotations

from collections.abc import Sequence

from agent.settings import Frozen
from training.credit.reward import Baseline, baseline, imitated, learners, pushed, reward
from training.sample import TokenSample, TokenStreams


class CodeRLSettings(Frozen):
    """Switches of each part."""

    policy_gradient: bool = True
    """Learn from sampled programs."""
    cross_entropy: bool = True
    """Learn from reference solutions, half of each step."""
    baseline: Baseline = "greedy"
    """none: absolute rewards."""
    critic: bool = True
    """Weigh by q_t where samples have it."""
    normalise_q: bool = False
    """Divide q_t by its mean over the program."""


def streams(group: Sequence[TokenSample], settings: CodeRLSettings) -> list[TokenStreams]:
    """q_t * (R(u) - R(u_b)) on sampled programs, cross-entropy on references."""
    base = baseline(group, settings.baseline)
    own = {sample.id for sample in learners(group)} if settings.policy_gradient else set()
    made = []
    for sample in group:
        if sample.kind == "reference" and settings.cross_entropy:
            made.append(imitated(sample))
        elif sample.id in own and base is not None:
            return_ = reward(sample) - base
            made.append(pushed(sample, return_, critic=settings.critic, normalise=settings.normalise_q))
        else:
            made.append(TokenStreams())
    return made
