"""Answers to probes and how far they agree."""

from __future__ import annotations

import pytest

from agent.behaviour import agreement, behaviour
from memory.records import CaseResult, Outcome, Verdict


def test_a_behaviour_is_the_answers_and_a_crash_is_none() -> None:
    cases = (
        CaseResult(name="f(1)", outcome=Outcome.PASSED, actual="2"),
        CaseResult(name="f(0)", outcome=Outcome.RUNTIME_ERROR),
    )
    assert behaviour(Verdict(id="", outcome=Outcome.RUNTIME_ERROR, passed=1, total=2, cases=cases)) == ("2", None)


def test_agreement_by_hand() -> None:
    # three programs stand for 2, 1 and 1 attempts; first probe: 2 of 4 say "a", 2 say "b"; second: 3 of 4 say "x"
    shares = agreement([("a", "x"), ("b", "x"), ("b", None)], [2, 1, 1])
    assert shares == pytest.approx([(2 / 4 + 3 / 4) / 2, (2 / 4 + 3 / 4) / 2, (2 / 4 + 0) / 2])


def test_crashing_together_is_no_agreement() -> None:
    assert agreement([(None,), (None,), ("1",)], [5, 5, 1]) == pytest.approx([0, 0, 1 / 11])


def test_nothing_to_compare() -> None:
    assert agreement([], []) == []
    assert agreement([(), ()], [1, 1]) == [0.0, 0.0]
