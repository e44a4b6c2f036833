"""How good stated probabilities are: order (AUC), squared error (Brier) and calibration (ECE); and what makes them so.

Plain numpy. The fit is Platt's (1999) with a second input, see agent/calibration.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agent.calibration import Calibration, log_odds, surprise_of

_FOLDS = 5
_PRIOR = 1.0
"""Precision of the weights' normal prior, at inputs of variance 1: it only matters where there is little data."""
_STEPS = 50


def auc(probabilities: Sequence[float], happened: Sequence[bool], folds: Sequence[int] | None = None) -> float | None:
    """Probability that one that happened has the higher value than one that did not, ties counting half (Mann and
    Whitney). None if all or none happened.

    `folds`: where values come from several fits, the one that each is of. Only values of the same fit are compared:
    another fit has another bias, and it is lower just where more happened (Forman and Scholz, Apples-to-Apples in
    Cross-Validation Studies, 2010)."""
    values, truth = np.asarray(probabilities, float), np.asarray(happened, bool)
    of = np.zeros(len(values), int) if folds is None else np.asarray(folds, int)
    right, pairs = 0.0, 0
    for fold in np.unique(of):
        won, compared = _won(values[of == fold], truth[of == fold])
        right, pairs = right + won, pairs + compared
    return right / pairs if pairs else None


def _won(values: NDArray[np.float64], truth: NDArray[np.bool_]) -> tuple[float, int]:
    """Pairs of one that happened and one that did not: in how many the former has the higher value, and all."""
    good, bad = int(truth.sum()), int((~truth).sum())
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    return float(ranks[truth].sum()) - good * (good + 1) / 2, good * bad


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


def fit(said: Sequence[float], logprobs: Sequence[float | None], happened: Sequence[bool]) -> Calibration:
    """The likeliest calibration (Newton's method). `said`: the critic's P(passed); `logprobs`: of the answers, None
    where not known. Raises ValueError without data."""
    if not said:
        raise ValueError("a calibration needs programs whose outcome is known")
    known = [surprise_of(value) for value in logprobs if value is not None]
    usual = sum(known) / len(known) if known else 0.0
    filled = [usual if value is None else surprise_of(value) for value in logprobs]
    inputs = np.array([[log_odds(one), other] for one, other in zip(said, filled, strict=True)])
    middle, spread = inputs.mean(0), inputs.std(0)
    spread = np.where(spread > 1e-9, spread, 1.0)
    rows = np.column_stack([np.ones(len(inputs)), (inputs - middle) / spread])
    truth, prior = np.asarray(happened, float), np.diag([1e-6, _PRIOR, _PRIOR])
    weights = np.zeros(3)
    for _ in range(_STEPS):
        chance = 1.0 / (1.0 + np.exp(-rows @ weights))
        slope = rows.T @ (truth - chance) - prior @ weights
        step = np.linalg.solve(rows.T @ (rows * (chance * (1.0 - chance))[:, None]) + prior, slope)
        weights += np.clip(step, -2.0, 2.0)
        if np.abs(step).max() < 1e-9:
            break
    verdict, surprise = weights[1:] / spread
    return Calibration(
        bias=float(weights[0] - (weights[1:] * middle / spread).sum()),
        verdict=float(verdict),
        surprise=float(surprise),
        usual=usual,
    )


def cross_fitted(
    said: Sequence[float], logprobs: Sequence[float | None], happened: Sequence[bool], groups: Sequence[str]
) -> tuple[list[float], list[int]] | None:
    """Calibrated probabilities, each by a fit on other groups than its own: what they say of the critic holds for
    programs that no fit has seen. And the fold of each, whose values have the same fit. None for fewer than two
    groups."""
    names = sorted(set(groups))
    if len(names) < 2:
        return None
    fold_of = {name: place % _FOLDS for place, name in enumerate(names)}
    found = [0.0] * len(said)
    for fold in set(fold_of.values()):
        others = [at for at, name in enumerate(groups) if fold_of[name] != fold]
        made = fit([said[at] for at in others], [logprobs[at] for at in others], [happened[at] for at in others])
        for at, name in enumerate(groups):
            if fold_of[name] == fold:
                found[at] = made.passed(said[at], logprobs[at])
    return found, [fold_of[name] for name in groups]
