"""The gate's rule on worked examples."""

from __future__ import annotations

import pytest

from agent.evaluation import GateReport, GateResult
from server.adapters.promotion import decide
from server.adapters.settings import AdapterSettings


def report(both: int, gained: int, lost: int, neither: int) -> GateReport:
    pairs = [(True, True)] * both + [(False, True)] * gained + [(True, False)] * lost + [(False, False)] * neither
    results = tuple(
        GateResult(problem=str(number), against=against, candidate=candidate)
        for number, (against, candidate) in enumerate(pairs)
    )
    return GateReport(candidate="actor@2", against="actor@1", results=results)


@pytest.mark.parametrize(
    ("counts", "promote", "said"),
    [
        ((80, 20, 2, 98), True, "+9.0 points"),
        ((80, 0, 0, 120), False, "not better"),
        ((80, 2, 20, 98), False, "may be worse"),
        ((80, 30, 26, 64), False, "may be worse"),
        ((20, 10, 0, 10), False, "too few"),
        ((80, 1, 0, 119), False, "not better"),
    ],
)
def test_the_rule(counts: tuple[int, int, int, int], promote: bool, said: str) -> None:
    decision = decide(report(*counts), AdapterSettings())
    assert decision.promote is promote and said in decision.reason
    assert decision.problems == sum(counts) and decision.against == "actor@1"


def test_the_settings_decide() -> None:
    even = report(80, 30, 26, 64)
    assert decide(even, AdapterSettings(gate_tolerance=0.1)).promote
    assert not decide(even, AdapterSettings(gate_tolerance=0.1, gate_margin=0.03)).promote
    assert decide(report(20, 10, 0, 10), AdapterSettings(gate_problems=40)).promote


def test_limits_are_those_of_the_single_results() -> None:
    difference = decide(report(80, 20, 2, 98), AdapterSettings()).difference
    assert difference.estimate == pytest.approx(0.09)
    assert 0.04 < difference.low < 0.09 < difference.high < 0.14


def test_a_report_without_results_is_none() -> None:
    with pytest.raises(ValueError, match="cannot be paired"):
        decide(report(0, 0, 0, 0), AdapterSettings())
