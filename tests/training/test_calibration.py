"""Measures of stated probabilities, worked by hand."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from agent.calibration import Calibration, length_of, log_odds, surprise_of
from training.calibration import Told, auc, brier, cross_fitted, ece, fit


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


TRUE = Calibration(bias=-2.0, verdict=0.5, surprise=-1.0, length=1.0, usual=0.25)


def drawn(count: int, seed: int = 0) -> list[Told]:
    """Programs that pass as often as TRUE says."""
    draw = random.Random(seed)
    made = []
    for at in range(count):
        said, logprob, code = draw.random(), -40.0 * draw.random(), "x" * draw.randrange(20, 400)
        passed = draw.random() < TRUE.passed(said, logprob, code)
        made.append(Told(said=said, logprob=logprob, code=code, passed=passed, group=f"family{at % 10}"))
    return made


def test_a_calibration_is_worked_by_hand() -> None:
    at = -2.0 + 0.5 * np.log(3.0) - np.log(11.0) + np.log(100.0)
    assert TRUE.passed(0.75, -10.0, "x" * 99) == pytest.approx(1 / (1 + np.exp(-at)))
    assert TRUE.passed(0.5, None, "x" * 99) == pytest.approx(1 / (1 + np.exp(1.75)))
    assert TRUE.passed(0.5, -1e300, "") < 1e-200 and TRUE.passed(1.0, 0.0, "x" * 99) > 0.99
    assert log_odds(0.5) == 0.0 and log_odds(0.0) == pytest.approx(-log_odds(1.0))


def test_the_fit_finds_what_the_data_were_drawn_with() -> None:
    programs = drawn(20_000)
    found = fit(programs)
    assert found.verdict == pytest.approx(0.5, abs=0.05)
    assert found.surprise == pytest.approx(-1.0, abs=0.1)
    assert found.length == pytest.approx(1.0, abs=0.1)
    assert found.bias == pytest.approx(-2.0, abs=0.5)
    likely = [found.surprise * surprise_of(one.logprob or 0.0) + found.length * length_of(one.code) for one in programs]
    assert found.usual == pytest.approx(np.mean(likely))


def test_the_fit_is_the_top_of_the_likelihood() -> None:
    """The gradient of the log-likelihood with its prior is nothing there, computed by differences. Where the
    log-probability is not known, both means stand in: an answer that has them is the same."""
    programs = [replace(one, logprob=None) if at % 5 == 0 else one for at, one in enumerate(drawn(300, 1))]
    found = fit(programs)
    known = [(surprise_of(one.logprob), length_of(one.code)) for one in programs if one.logprob is not None]
    means = np.mean(known, axis=0)
    rows = np.array(
        [
            (log_odds(one.said), *(means if one.logprob is None else (surprise_of(one.logprob), length_of(one.code))))
            for one in programs
        ]
    )
    passed = np.array([one.passed for one in programs])

    def height(**changed: float) -> float:
        names = ("verdict", "surprise", "length")
        weights = np.array([changed.get(name, getattr(found, name)) for name in names])
        at = changed.get("bias", found.bias) + rows @ weights
        told = -np.log1p(np.exp(np.where(passed, -at, at))).sum()
        return float(told - ((weights * rows.std(0)) ** 2).sum() / 2)

    for name in ("bias", "verdict", "surprise", "length"):
        for far in (1e-3, -1e-3):
            assert height(**{name: getattr(found, name) + far}) < height()


def test_few_or_one_sided_data_give_a_calibration_too() -> None:
    for said, passed in (([0.5], [True]), ([0.1, 0.9], [False, False]), ([0.3, 0.7], [False, True])):
        programs = [Told(said=one, logprob=None, code="x", passed=ok) for one, ok in zip(said, passed, strict=True)]
        assert 0.0 <= fit(programs).passed(0.5, None, "x") <= 1.0
    with pytest.raises(ValueError, match="outcome is known"):
        fit([])


def test_cross_fitted_values_are_of_other_groups() -> None:
    programs = drawn(400, 2)
    fitted = cross_fitted(programs)
    assert fitted is not None
    found, folds = fitted
    assert (auc(found, [one.passed for one in programs], folds) or 0.0) > 0.6
    assert folds == [at % 5 for at in range(400)]
    theirs = [at for at in range(400) if at % 10 in (0, 5)]  # one fold: places 0 and 5 of 10
    flipped = [replace(one, passed=one.passed != (at in theirs)) for at, one in enumerate(programs)]
    again = cross_fitted(flipped)
    assert again is not None and [again[0][at] for at in theirs] == [found[at] for at in theirs]
    assert again[0] != found
    assert cross_fitted([replace(one, group="one") for one in programs]) is None
