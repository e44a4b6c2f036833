"""Measures of stated probabilities, worked by hand."""

from __future__ import annotations

import pytest

from training.calibration import auc, brier, ece


def test_auc() -> None:
    assert auc([0.9, 0.8, 0.3, 0.1], [True, False, True, False]) == 0.75  # 3 of 4 pairs
    assert auc([0.5, 0.5, 0.1], [True, False, False]) == 0.75  # (0.5 + 1) / 2
    assert auc([0.5] * 4, [True, False, True, False]) == 0.5
    assert auc([0.5, 0.6], [True, True]) is None


def test_brier() -> None:
    assert brier([1.0, 0.5, 0.2], [True, False, False]) == pytest.approx((0 + 0.25 + 0.04) / 3)


def test_ece() -> None:
    # (0.9, 1.0] holds 1.0 and 0.95: gap |1.95 - 1|; (0.2, 0.3] holds 0.3: gap 0.3; 0 lies in the first
    assert ece([1.0, 0.95, 0.3, 0.0], [True, False, False, False]) == pytest.approx((0.95 + 0.3) / 4)
    assert ece([0.5, 0.5], [True, False]) == 0.0
