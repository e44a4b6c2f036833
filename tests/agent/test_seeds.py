"""Beginnings of programs and the choice among them."""

from __future__ import annotations

from agent.seeds import beginnings, seed
from memory.records import Opinion

CODE = '''\
import math

def f(xs):
    """Sums."""
    total = 0
    for x in xs:
        if x > 0:
            total += x
    return total
'''


def opinion(passed: float) -> Opinion:
    return Opinion(passed=passed, failed=1 - passed, crashes=0.0, invalid=0.0, by="test")


def test_a_beginning_ends_before_each_statement_of_a_body() -> None:
    lines = CODE.splitlines(keepends=True)
    assert beginnings(CODE) == ["".join(lines[:count]) for count in (4, 5, 6, 7, 8)]
    assert beginnings("def f(:") == []
    assert beginnings("x = 1\n") == []


def test_the_last_line_is_never_given() -> None:
    assert all(len(text.splitlines()) <= 0.9 * 9 for text in beginnings(CODE))


def test_the_beginning_that_is_likeliest_to_pass() -> None:
    begun = ["a", "b", "c"]
    assert seed(begun, [opinion(0.6), opinion(0.8), opinion(0.7)]) == "b"
    assert seed(begun, [opinion(0.6), opinion(0.6), opinion(0.6)]) == "c", "of equals the longest"
    assert seed(begun, [opinion(0.6), opinion(0.4), opinion(0.9)]) == "a", "not beyond the first doubt"
    assert seed(begun, [opinion(0.1), opinion(0.2), opinion(0.1)]) == "b"
    assert seed([], []) is None
