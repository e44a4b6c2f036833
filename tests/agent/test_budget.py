"""The schedule: how a budget is spent."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.budget import Budget, next_step


def schedule(budget: Budget) -> list[tuple[str, int]]:
    steps: list[tuple[str, int]] = []
    spent = rounds = 0
    while (step := next_step(budget, spent, rounds)) is not None:
        steps.append((step.kind, step.candidates))
        spent += step.candidates
        rounds += step.kind == "repair"
    return steps


def test_the_default_budget() -> None:
    assert schedule(Budget(deadline=0)) == [("first", 1), ("sample", 12), ("repair", 1), ("repair", 1), ("repair", 1)]


def test_without_rounds_or_repair_all_candidates_are_samples() -> None:
    assert schedule(Budget(deadline=0, max_rounds=0)) == [("first", 1), ("sample", 15)]
    assert schedule(Budget(deadline=0, repair=False)) == [("first", 1), ("sample", 15)]


@given(st.integers(1, 80), st.integers(0, 20))
def test_every_budget_is_kept(candidates: int, rounds: int) -> None:
    steps = schedule(Budget(deadline=0, max_candidates=candidates, max_rounds=rounds))
    assert sum(count for _, count in steps) <= candidates
    assert sum(kind == "repair" for kind, _ in steps) <= rounds
    assert all(count > 0 for _, count in steps)
    assert steps[0] == ("first", 1)
