from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sandbox.compare import close, same_text, same_value


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        (1, 1), (1, 1.0), (0.1 + 0.2, 0.3), (1e-12, 0.0), ([1, (2,)], [1, (2,)]), ({1, 2}, {2, 1}), ({"a": 0.3}, {"a": 0.1 + 0.2}),
        (0.0, 5.551115123125783e-17), (0.0, -3.3333333333333333e-10), (1e-20, 1.00000001e-20),
        (math.nan, math.nan), (math.inf, math.inf), (True, 1), (None, None), ("a", "a"), (10**400, 10**400), (-0.0, 0.0),
    ],
)  # fmt: skip
def test_same_values(actual: object, expected: object) -> None:
    assert same_value(actual, expected)


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        (1, 2), (0.1, 0.1001), ((1, 2), [1, 2]), ([1, 2], (1, 2)), ([1, 2], [2, 1]), ([1], [1, 2]), ({1: 2}, {1: 3}), ("1", 1),
        (None, 0), (math.inf, -math.inf), (math.nan, 1.0), (10**400, 1.0), (True, 0.0), ({1}, [1]), ({"1": 2}, {1: 2}),
        (Decimal("0.5"), "0.5"), ("a ", "a"), (0.0, 6.674e-11), (1.6e-19, -1.6e-19), (1.001e-10, 1e-10), (1e-8, 0.0),
        (0.0, 3.3333333333333333e-09),
    ],
)  # fmt: skip
def test_different_values(actual: object, expected: object) -> None:
    assert not same_value(actual, expected)


def test_expectations_from_json() -> None:
    assert same_value((1, (2, 3)), [1, [2, 3]], from_json=True)
    assert same_value({1: (2,)}, {"1": [2]}, from_json=True)
    assert not same_value({2: (2,)}, {"1": [2]}, from_json=True)
    assert not same_value({1, 2}, [1, 2], from_json=True)


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        ("a\n", "a"), ("a  \nb\n\n", "a\nb"), ("a\r\nb", "a\nb"), ("0.3333333", "0.33333333"), ("x 1.0000001 y", "x 1.0 y"),
        ("", "\n"), ("1  2", "1 2"), ("2", "2.0"), ("a  b", "a b"), (" yes\n", "yes\n"), ("1\n1 2\n", "  1\n 1 2\n"),
        ("Case 1: a", "Case 1:  a"), (" *\n***", "   *\n  ***"), ("*\n1.0", "*\n1.00"),
    ],
)  # fmt: skip
def test_same_text(actual: str, expected: str) -> None:
    assert same_text(actual, expected)


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        ("a", "b"), ("a\n\nb", "a\nb"), ("1.0", "1"), ("0.334", "0.333"), ("a b", "b a"), ("1 2", "1 2 3"), ("A", "a"), ("", "a"),
        ("nan", "0.5"), ("0.0", "1.602e-19"), ("1_0.5", "10.5"), ("\u0661.5", "1.5"), ("1000001", "1000000"), ("inf", "1e5"),
        ("*\n***\n", " *\n***\n"), ("* *", "*   *"), ("*\n * *", " *\n* *"), ("A\nB B", " A\nB B"), ("A\nB B\n3.0", " A\nB B\n3"),
    ],
)  # fmt: skip
def test_different_text(actual: str, expected: str) -> None:
    assert not same_text(actual, expected)


@given(st.text(), st.text())
def test_text_never_raises_and_is_reflexive(one: str, other: str) -> None:
    assert same_text(one, one)
    assert isinstance(same_text(one, other), bool)


def test_close() -> None:
    assert close(1, 1.0, relative=1e-9, absolute=0.0)
    assert not close("1", 1.0, relative=1e-9, absolute=0.0)
    assert not close(10**400, 1.0, relative=1e-9, absolute=0.0)
