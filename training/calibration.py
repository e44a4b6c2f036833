"""How good stated probabilities are: order (AUC), squared error (Brier) and calibration (ECE); and what makes them so.

Plain numpy. The fit is Platt's (1999) with further inputs, see agent/calibration.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.calibration import Calibration, length_of, log_odds, surprise_of

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What is known of a program, and whether it passed."""

    said: float
    """P(passed) by the critic."""
    logprob: float | None
    """Of the answer; None: not known."""
    code: str
    passed: bool
    group: str = ""
    """No fit is measured on groups that it was made from."""


def fit(programs: Sequence[Told]) -> Calibration:
    """The likeliest calibration (Newton's method). Raises ValueError without data."""
    if not programs:
        raise ValueError("a calibration needs programs whose outcome is known")
    known = [(surprise_of(one.logprob), length_of(one.code)) for one in programs if one.logprob is not None]
    usual = np.mean(known, axis=0) if known else np.zeros(2)
    likely = [usual if one.logprob is None else (surprise_of(one.logprob), length_of(one.code)) for one in programs]
    inputs = np.array([[log_odds(one.said), *others] for one, others in zip(programs, likely, strict=True)])
    middle, spread = inputs.mean(0), inputs.std(0)
    spread = np.where(spread > 1e-9, spread, 1.0)
    rows = np.column_stack([np.ones(len(inputs)), (inputs - middle) / spread])
    truth = np.array([one.passed for one in programs], float)
    prior = np.diag([1e-6, *[_PRIOR] * inputs.shape[1]])
    weights = np.zeros(1 + inputs.shape[1])
    for _ in range(_STEPS):
        chance = 1.0 / (1.0 + np.exp(-rows @ weights))
        slope = rows.T @ (truth - chance) - prior @ weights
        step = np.linalg.solve(rows.T @ (rows * (chance * (1.0 - chance))[:, None]) + prior, slope)
        weights += np.clip(step, -2.0, 2.0)
        if np.abs(step).max() < 1e-9:
            break
    verdict, surprise, length = weights[1:] / spread
    return Calibration(
        bias=float(weights[0] - (weights[1:] * middle / spread).sum()),
        verdict=float(verdict),
        surprise=float(surprise),
        length=float(length),
        usual=float(surprise * usual[0] + length * usual[1]),
    )


def cross_fitted(programs: Sequence[Told]) -> tuple[list[float], list[int]] | None:
    """Calibrated probabilities, each by a fit on other groups than its own: what they say of the critic holds for
    programs that no fit has seen. And the fold of each, whose values have the same fit. None for fewer than two
    groups."""
    names = sorted({one.group for one in programs})
    if len(names) < 2:
        return None
    fold_of = {name: place % _FOLDS for place, name in enumerate(names)}
    folds = [fold_of[one.group] for one in programs]
    fits = {fold: fit([one for one, of in zip(programs, folds, strict=True) if of != fold]) for fold in set(folds)}
    found = [fits[fold].passed(one.said, one.logprob, one.code) for one, fold in zip(programs, folds, strict=True)]
    return found, folds
