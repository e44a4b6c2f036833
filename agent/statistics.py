"""Intervals for what a benchmark claims: pass@1, and the difference between two modes over the same problems.

Plain formulas, no numpy. Sources: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
JASA 22 (1927); R. G. Newcombe, "Improved confidence intervals for the difference between binomial proportions based on
paired data", Statistics in Medicine 17 (1998) 2635-2650, method 10. Both behave at 0 %, at 100 % and with few problems,
where the textbook interval has no width or leaves [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

Z95 = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate between its limits."""

    estimate: float
    low: float
    high: float


def pass_at_1(passed: int, total: int, z: float = Z95) -> Interval:
    """Share of problems solved by one answer each, with Wilson's score interval.

    Without problems nothing is known: 0 to 1 around 0. Raises ValueError unless 0 <= passed <= total.
    """
    if not 0 <= passed <= total:
        raise ValueError(f"{passed} passed of {total}")
    if total == 0:
        return Interval(0.0, 0.0, 1.0)
    share = passed / total
    centre = share + z * z / (2 * total)
    half = z * sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    low = 0.0 if passed == 0 else (centre - half) / scale
    high = 1.0 if passed == total else (centre + half) / scale
    return Interval(share, low, high)


def paired_difference(first: Sequence[bool], second: Sequence[bool], z: float = Z95) -> Interval:
    """Pass rate of `second` minus that of `first`, item by item over the same problems (Newcombe's method 10).

    The two Wilson intervals are combined by squaring and adding, with the continuity-corrected correlation of the pairs
    between them. Raises ValueError if the sequences differ in length or are empty.
    """
    if len(first) != len(second) or not first:
        raise ValueError(f"{len(first)} and {len(second)} results cannot be paired")
    pairs = list(zip(second, first, strict=True))
    both, gained = pairs.count((True, True)), pairs.count((True, False))
    lost, neither = pairs.count((False, True)), pairs.count((False, False))
    total = len(pairs)
    new, old = pass_at_1(both + gained, total, z), pass_at_1(both + lost, total, z)
    correlation = _correlation(both, gained, lost, neither)
    difference = (gained - lost) / total
    return Interval(
        difference,
        difference - _combined(new.estimate - new.low, old.high - old.estimate, correlation),
        difference + _combined(new.high - new.estimate, old.estimate - old.low, correlation),
    )


def _correlation(both: int, gained: int, lost: int, neither: int) -> float:
    """Phi of the two-by-two table; a positive one is shrunk by half a table (the paper's continuity correction)."""
    margins = (both + gained) * (lost + neither) * (both + lost) * (gained + neither)
    if margins == 0:
        return 0.0
    excess = float(both * neither - gained * lost)
    if excess > 0:
        excess = max(excess - (both + gained + lost + neither) / 2, 0.0)
    return excess / sqrt(margins)


def _combined(one: float, other: float, correlation: float) -> float:
    return sqrt(max(one * one - 2 * correlation * one * other + other * other, 0.0))
