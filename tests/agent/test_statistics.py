"""Intervals against published figures, and their coverage by simulation."""

from __future__ import annotations

import random

import pytest

from agent.statistics import Interval, paired_difference, pass_at_1


def paired(both: int, gained: int, lost: int, neither: int) -> tuple[list[bool], list[bool]]:
    first = [True] * both + [False] * gained + [True] * lost + [False] * neither
    second = [True] * (both + gained) + [False] * (lost + neither)
    return first, second


@pytest.mark.parametrize(
    ("passed", "total", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_agrees_with_newcombe_1998_table_1(passed: int, total: int, low: float, high: float) -> None:
    interval = pass_at_1(passed, total)
    assert interval.estimate == passed / total
    assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)


def test_wilson_at_the_ends() -> None:
    assert pass_at_1(20, 20).high == 1.0
    assert pass_at_1(20, 20).low == pytest.approx(1 - 0.16112515805281938)
    assert pass_at_1(0, 0) == Interval(0.0, 0.0, 1.0)
    with pytest.raises(ValueError, match="3 passed of 2"):
        pass_at_1(3, 2)


def test_paired_difference_agrees_with_a_worked_example() -> None:
    """Airway data of Bentur et al. 2009 as worked in Fagerland, Lydersen and Laake 2014: -0.507 to -0.026."""
    interval = paired_difference(*paired(1, 1, 7, 12))
    assert interval.estimate == pytest.approx(-6 / 21)
    assert (round(interval.low, 3), round(interval.high, 3)) == (-0.507, -0.026)


def test_swapping_the_modes_mirrors_the_interval() -> None:
    first, second = paired(30, 12, 3, 40)
    forth, back = paired_difference(first, second), paired_difference(second, first)
    assert forth.estimate == pytest.approx(9 / 85)
    assert forth.low == pytest.approx(-back.high)
    assert forth.high == pytest.approx(-back.low)


def test_equal_modes_still_leave_doubt() -> None:
    interval = paired_difference(*paired(10, 0, 0, 10))
    assert interval.estimate == 0.0
    assert interval.low < 0.0 < interval.high


def test_unpaired_results_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be paired"):
        paired_difference([True], [])
    with pytest.raises(ValueError, match="cannot be paired"):
        paired_difference([], [])


@pytest.mark.parametrize("shares", [(0.4, 0.2, 0.05, 0.35), (0.8, 0.05, 0.05, 0.1), (0.02, 0.1, 0.0, 0.88)])
def test_the_paired_interval_covers_the_truth_about_95_times_in_100(shares: tuple[float, ...]) -> None:
    chance = random.Random(1998)
    truth, covered, trials, problems = shares[1] - shares[2], 0, 2000, 100
    for _ in range(trials):
        counts = [0, 0, 0, 0]
        for cell in chance.choices(range(4), shares, k=problems):
            counts[cell] += 1
        interval = paired_difference(*paired(*counts))
        covered += interval.low <= truth <= interval.high
    assert 0.93 <= covered / trials <= 0.985
