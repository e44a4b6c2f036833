"""Expectations as text, in the spelling of any of the languages."""

from __future__ import annotations

import math

import pytest

from agent.errors import BadTests
from agent.sandbox.native.expectation import read
from agent.sandbox.native.values import UNDEFINED, Members


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("-0.5", -0.5),
        ('"a\\u00e9\\ud83d\\ude00"', "aé😀"),
        ("'a'", "a"),
        ("[1, [true, null]]", [1, [True, None]]),
        ("[1, (True, None)]", [1, [True, None]]),
        ('{"a": [1]}', {"a": [1]}),
        ("{a: 1, 'b': -2}", {"a": 1, "b": -2}),
        ("{1: 'x'}", {1: "x"}),
        ("undefined", UNDEFINED),
        ("[undefined, nullptr]", [UNDEFINED, None]),
        ("-Infinity", -math.inf),
        ("float('inf')", math.inf),
        ("[+inf]", [math.inf]),
        ("set()", Members()),
        ("{1, 2}", Members([1, 2])),
        (str(2**80), 2**80),
    ],
)
def test_literals(text: str, value: object) -> None:
    assert read(text) == value


def test_not_a_number() -> None:
    assert all(isinstance(value, float) and math.isnan(value) for value in (read("NaN"), read("nan")))


@pytest.mark.parametrize("text", ["", "f(1)", "x", "1 +", "b'x'", "[x for x in []]", "{[1]: 2}", "-true", "(" * 5000])
def test_what_is_no_literal(text: str) -> None:
    with pytest.raises(BadTests, match="neither JSON nor a literal"):
        read(text)
