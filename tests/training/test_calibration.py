"""Measures of stated probabilities, worked by hand."""

from __future__ import annotations

import random

import numpy as np
import pytest

from agent.calibration import Calibration, log_odds, surprise_of
from training.calibration import auc, brier, cross_fitted, ece, fit


def test_auc() -> None:
    assert auc([0.9, 0.8, 0.3, 0.1], [True, False, True, False]) == 0.75  # 3 of 4 pairs
    assert auc([0.5, 0.5, 0.1], [True, False, False]) == 0.75  # (0.5 + 1) / 2
    assert auc([0.5] * 4, [True, False, True, False]) == 0.5
    assert auc([0.5, 0.6], [True, True]) is None


def test_auc_of_several_fits_compares_values_of_the_same_one() -> None:
    # fold 0: 0.9 over 0.8; fold 1: 0.3 over 0.1, and 0.1 ties with 0.1; fold 2 has nothing to compare
    values, happened, folds = (
        [0.9, 0.8, 0.3, 0.1, 0.1, 0.95],
        [True, False, True, True, False, False],
        [0, 0, 1, 1, 1, 2],
    )
    assert auc(values, happened, folds) == pytest.approx((1 + 1 + 0.5) / 3)
    assert auc(values, happened) == pytest.approx((2 + 1 + 0.5) / 9)
    assert auc([0.1, 0.9], [True, False], [0, 1]) is None


def test_brier() -> None:
    assert brier([1.0, 0.5, 0.2], [True, False, False]) == pytest.approx((0 + 0.25 + 0.04) / 3)


def test_ece() -> None:
    # (0.9, 1.0] holds 1.0 and 0.95: gap |1.95 - 1|; (0.2, 0.3] holds 0.3: gap 0.3; 0 lies in the first
    assert ece([1.0, 0.95, 0.3, 0.0], [True, False, False, False]) == pytest.approx((0.95 + 0.3) / 4)
    assert ece([0.5, 0.5], [True, False]) == 0.0


TRUE = Calibration(bias=2.0, verdict=0.5, surprise=-1.0, usual=3.0)


def drawn(count: int, seed: int = 0) -> tuple[list[float], list[float | None], list[bool]]:
    """Programs that pass as often as TRUE says."""
    draw = random.Random(seed)
    said = [draw.random() for _ in range(count)]
    logprobs: list[float | None] = [-40.0 * draw.random() for _ in range(count)]
    passed = [draw.random() < TRUE.passed(one, other) for one, other in zip(said, logprobs, strict=True)]
    return said, logprobs, passed


def test_a_calibration_is_worked_by_hand() -> None:
    at = 2.0 + 0.5 * np.log(3.0) - np.log(11.0)
    assert TRUE.passed(0.75, -10.0) == pytest.approx(1 / (1 + np.exp(-at)))
    assert TRUE.passed(0.75, None) == pytest.approx(TRUE.passed(0.75, 1 - np.exp(3.0)))
    assert TRUE.passed(0.5, -1e300) < 1e-200 and TRUE.passed(1.0, 0.0) > 0.99
    assert log_odds(0.5) == 0.0 and log_odds(0.0) == pytest.approx(-log_odds(1.0))


def test_the_fit_finds_what_the_data_were_drawn_with() -> None:
    said, logprobs, passed = drawn(20_000)
    found = fit(said, logprobs, passed)
    assert found.verdict == pytest.approx(0.5, abs=0.05)
    assert found.surprise == pytest.approx(-1.0, abs=0.1)
    assert found.bias == pytest.approx(2.0, abs=0.3)
    assert found.usual == pytest.approx(np.mean([np.log1p(-one) for one in logprobs if one is not None]))


def test_the_fit_is_the_top_of_the_likelihood() -> None:
    """The gradient of the log-likelihood with its prior is nothing there, computed by differences."""
    said, logprobs, passed = drawn(300, 1)
    found = fit(said, [None if at % 5 == 0 else one for at, one in enumerate(logprobs)], passed)
    filled = [1 - np.exp(found.usual) if at % 5 == 0 or one is None else one for at, one in enumerate(logprobs)]
    spread = np.std([log_odds(one) for one in said]), np.std([surprise_of(one) for one in filled])

    def height(**changed: float) -> float:
        one = Calibration(**{**{name: getattr(found, name) for name in found.__slots__}, **changed})
        chances = [one.passed(chance, other) for chance, other in zip(said, filled, strict=True)]
        told = sum(np.log(p if ok else 1 - p) for p, ok in zip(chances, passed, strict=True))
        return float(told - ((one.verdict * spread[0]) ** 2 + (one.surprise * spread[1]) ** 2) / 2)

    for name, far in (("bias", 1e-3), ("verdict", 1e-3), ("surprise", 1e-3)):
        for sign in (1, -1):
            assert height(**{name: getattr(found, name) + sign * far}) < height()


def test_few_or_one_sided_data_give_a_calibration_too() -> None:
    for said, passed in (([0.5], [True]), ([0.1, 0.9], [False, False]), ([0.3, 0.7], [False, True])):
        chance = fit(said, [None] * len(said), passed).passed(0.5, None)
        assert 0.0 <= chance <= 1.0
    with pytest.raises(ValueError, match="outcome is known"):
        fit([], [], [])


def test_cross_fitted_values_are_of_other_groups() -> None:
    said, logprobs, passed = drawn(400, 2)
    groups = [f"family{at % 10}" for at in range(400)]
    fitted = cross_fitted(said, logprobs, passed, groups)
    assert fitted is not None
    found, folds = fitted
    assert (auc(found, passed, folds) or 0.0) > 0.6
    assert folds == [at % 5 for at in range(400)]
    theirs = [at for at in range(400) if groups[at] in ("family0", "family5")]  # one fold: places 0 and 5 of 10
    flipped = [not ok if at in theirs else ok for at, ok in enumerate(passed)]
    again = cross_fitted(said, logprobs, flipped, groups)
    assert again is not None and [again[0][at] for at in theirs] == [found[at] for at in theirs]
    assert again[0] != found
    assert cross_fitted(said, logprobs, passed, ["one"] * 400) is None
