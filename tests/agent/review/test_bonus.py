"""Quality never outweighs correctness."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.review.bonus import CEILING, bonuses
from memory.records import Outcome, Quality, Verdict

CONSTANT = {Outcome.COMPILE_ERROR: -1.0, Outcome.FAILED_TEST: -0.3}
"""Rewards without tests passed (CodeRL); every other failure is -0.6."""


def verdict(passed: int, total: int, outcome: Outcome | None = None) -> Verdict:
    told = outcome or (Outcome.PASSED if passed == total else Outcome.FAILED_TEST)
    return Verdict(id="v", outcome=told, passed=passed, total=total)


def adaptive(of: Verdict) -> float:
    """The reward that the bonus is added to (RLTF, arXiv 2307.04349, equation 6)."""
    if of.outcome is Outcome.PASSED:
        return 1.0
    if of.outcome is Outcome.FAILED_TEST:
        return -0.3 + 1.3 * of.passed / of.total
    return CONSTANT.get(of.outcome, -0.6)


shares = st.none() | st.floats(0, 1)
qualities = st.builds(Quality, style=shares, complexity=shares, instructions=shares)
passes = st.integers(1, 500).map(lambda total: verdict(total, total))
failures = st.integers(1, 500).flatmap(
    lambda total: st.builds(
        verdict,
        st.integers(0, total - 1),
        st.just(total),
        st.sampled_from([one for one in Outcome if one not in (Outcome.PASSED, Outcome.SANDBOX_ERROR)]),
    )
)


@given(st.lists(st.tuples(passes | failures, qualities), max_size=12))
def test_no_failing_program_ranks_over_a_passing_one(batch: list[tuple[Verdict, Quality]]) -> None:
    given_to = bonuses(batch)
    assert len(given_to) == len(batch)
    assert all(0 <= bonus <= CEILING for bonus in given_to)
    totals = [adaptive(of) + bonus for (of, _), bonus in zip(batch, given_to, strict=True)]
    passed = [total for (of, _), total in zip(batch, totals, strict=True) if of.outcome is Outcome.PASSED]
    failed = [total for (of, _), total in zip(batch, totals, strict=True) if of.outcome is not Outcome.PASSED]
    assert max(failed, default=-2.0) < min(passed, default=2.0)


@given(st.lists(qualities, min_size=1, max_size=8), st.data())
def test_better_is_never_worse(batch: list[Quality], data: st.DataObject) -> None:
    """Among programs that are all judged, the better one of two in everything gets at least as much."""
    judged = [Quality(style=one.style or 0.0, complexity=one.complexity or 0.0) for one in batch]
    given_to = bonuses([(verdict(1, 1), one) for one in judged])
    first, second = (data.draw(st.integers(0, len(batch) - 1)) for _ in range(2))
    one, other = judged[first], judged[second]
    if (one.style or 0) >= (other.style or 0) and (one.complexity or 0) >= (other.complexity or 0):
        assert given_to[first] >= given_to[second] - 1e-12


def test_by_hand() -> None:
    """Styles 1.0 and 0.5: mean 0.75, deviation 0.25, z = 1 and -1, so 3/4 and 1/4 of 0.3."""
    batch = [
        (verdict(2, 2), Quality(style=1.0)),
        (verdict(2, 2), Quality(style=0.5)),
        (verdict(1, 2), Quality(style=1.0)),
    ]
    assert bonuses(batch) == pytest.approx([0.225, 0.075, 0.0])


def test_the_mean_is_over_the_judges_that_judged() -> None:
    batch = [
        (verdict(2, 2), Quality(style=1.0, complexity=0.2)),
        (verdict(2, 2), Quality(style=0.5)),
        (verdict(2, 2), Quality()),
    ]
    assert bonuses(batch) == pytest.approx([0.3 * (0.75 + 0.5) / 2, 0.075, 0.15])


def test_alike_programs_get_the_same() -> None:
    assert bonuses([(verdict(1, 1), Quality(style=0.1))] * 3) == pytest.approx([0.15] * 3)
    assert bonuses([]) == []


def test_what_does_not_count() -> None:
    good = Quality(style=1.0, complexity=1.0, instructions=1.0)
    beside_itself = replace(verdict(3, 3), integrity="in_process")
    for of in (None, verdict(0, 0), beside_itself, verdict(0, 1, Outcome.SANDBOX_ERROR)):
        assert bonuses([(of, good), (verdict(1, 1), Quality())]) == [0.0, 0.15]
