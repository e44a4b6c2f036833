"""The schedule: how a budget is spent."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agent.budget import SAMPLES, next_step
from tests.fakes import budget_of


def schedule(**limits: Any) -> list[tuple[str, int]]:
    """Kinds and numbers of all steps, if nothing ever passes."""
    budget = budget_of(**limits)
    made: list[tuple[str, int]] = []
    spent = rounds = 0
    while (found := next_step(budget, spent, len(made), rounds)) is not None:
        step, count = found
        made.append((step.kind, count))
        spent += count
        rounds += step.kind == "round"
    return made


def test_the_default_budget() -> None:
    made = schedule()
    assert made[0] == ("first", 1)
    assert [kind for kind, _ in made[1 : 1 + len(SAMPLES)]] == ["sample"] * len(SAMPLES)
    assert made[1 + len(SAMPLES) :] == [("round", 1)] * 3
    assert sum(count for _, count in made) == 16


def test_without_rounds_all_candidates_are_samples() -> None:
    for limits in ({"max_rounds": 0}, {"repair": False, "prefix_seeds": False}):
        made = schedule(**limits)
        assert [kind for kind, _ in made] == ["first"] + ["sample"] * len(SAMPLES)
        assert sum(count for _, count in made) == 16


@given(st.integers(1, 80), st.integers(0, 20))
def test_every_budget_is_kept(candidates: int, rounds: int) -> None:
    steps = schedule(max_candidates=candidates, max_rounds=rounds)
    assert sum(count for _, count in steps) <= candidates
    assert sum(kind == "round" for kind, _ in steps) <= rounds
    assert all(count > 0 for _, count in steps)
    assert steps[0] == ("first", 1)
