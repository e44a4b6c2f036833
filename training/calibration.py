"""How good stated probabilities are: order (AUC), squared error (Brier) and calibration (ECE). Plain numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def auc(probabilities: Sequence[float], happened: Sequence[bool]) -> float | None:
    """Probability that one that happened has the higher value than one that did not, ties counting half (Mann and
    Whitney). None if all or none happened."""
    values, truth = np.asarray(probabilities, float), np.asarray(happened, bool)
    good, bad = int(truth.sum()), int((~truth).sum())
    if not good or not bad:
        return None
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    return float((ranks[truth].sum() - good * (good + 1) / 2) / (good * bad))


def brier(probabilities: Sequence[float], happened: Sequence[bool]) -> float:
    """Mean squared distance from what happened: 0 is perfect, 0.25 is what 0.5 for all would have."""
    return float(np.mean((np.asarray(probabilities, float) - np.asarray(happened, float)) ** 2))


def ece(probabilities: Sequence[float], happened: Sequence[bool], bins: int = 10) -> float:
    """Expected calibration error over bins of equal width, closed on the right: the mean distance of stated from found
    share, weighted by size."""
    values, truth = np.asarray(probabilities, float), np.asarray(happened, float)
    places = np.clip(np.ceil(values * bins) - 1, 0, bins - 1).astype(int)
    gaps = [abs(float((values - truth)[places == place].sum())) for place in range(bins)]
    return float(sum(gaps) / len(values))
