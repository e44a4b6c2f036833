"""From a critic's words to a probability that a program passes.

Logistic in three things: what the critic says, how likely the answer was to the model that wrote it, and how long the
program is. Platt (1999) calibrates a classifier in this way; Chen et al. (arXiv 2107.03374, section 3.3) choose among
samples by their log-probability, a mean over tokens, because a longer answer is less likely whatever it says: how much
of that to take back is fitted here. The critic reads the program, the log-probability tells how sure its writer was:
neither has the other's knowledge. Training fits it (training/calibration.py) and a critic's version carries it
(agent/adapters.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_LEAST = 1e-6
"""A stated probability counts as at least this far from 0 and 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """P(passed) = sigmoid(bias + verdict · log-odds of the critic's `passed` + surprise · log(1 - log-probability)
    + length · log(1 + characters))."""

    bias: float
    verdict: float
    surprise: float
    """Below 0: the less likely its writer found an answer, the seldomer it passes."""
    length: float
    """Above 0 where long programs pass as often as short ones that are equally likely."""
    usual: float
    """What the last two add where no log-probability is known, as for a mere beginning: the mean of the data."""

    def passed(self, said: float, logprob: float | None, code: str) -> float:
        """Probability that the program passes; `said` is the critic's, `logprob` the whole answer's."""
        at = self.bias + self.verdict * log_odds(said)
        if logprob is None:
            at += self.usual
        else:
            at += self.surprise * surprise_of(logprob) + self.length * length_of(code)
        return 1.0 / (1.0 + math.exp(-at)) if at > -700.0 else 0.0


def log_odds(probability: float) -> float:
    """log p / (1 - p), bounded."""
    p = min(max(probability, _LEAST), 1.0 - _LEAST)
    return math.log(p / (1.0 - p))


def surprise_of(logprob: float) -> float:
    """log(1 - log-probability), from 0 on. The logarithm again, because a few answers are unlikely beyond measure."""
    return math.log1p(max(0.0, -logprob))


def length_of(code: str) -> float:
    """log(1 + characters)."""
    return math.log1p(len(code))
