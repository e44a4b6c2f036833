"""Values as a harness tells them, and when they are the expected ones."""

from __future__ import annotations

import math

import pytest

from agent.sandbox.native.values import UNDEFINED, Members, Opaque, decode, same, shown
from agent.sandbox.wire.codec import Json, Malformed


@pytest.mark.parametrize(
    ("wire", "value"),
    [
        (None, None),
        (1.5, 1.5),
        (["l", 1, ["l"]], [1, []]),
        (["d", "a", ["u"], 1, None], {"a": UNDEFINED, 1: None}),
        (["s", ["l", 1]], Members([[1]])),
        (["i", "-ff"], -255),
        (["x", "K", "K {}"], Opaque("K", "K {}")),
        (["d", ["l"], 1], Opaque("mapping", "a mapping whose keys are no scalars")),
        (["d", 1, 1, True, 2], Opaque("mapping", "a mapping with equal keys")),
    ],
)
def test_decode(wire: Json, value: object) -> None:
    assert decode(wire) == value


def deep(levels: int) -> Json:
    wire: Json = 1
    for _ in range(levels):
        wire = ["l", wire]
    return wire


@pytest.mark.parametrize("wire", [[], {}, ["q"], ["i", "x"], ["i"], ["x", 1], ["l", {}], deep(200)])
def test_malformed(wire: Json) -> None:
    with pytest.raises(Malformed):
        decode(wire)


@pytest.mark.parametrize(
    ("actual", "expected", "equal"),
    [
        (1, 1.0, True),
        (0.1 + 0.2, 0.3, True),
        (1, True, False),
        (True, 1, False),
        (None, None, True),
        (UNDEFINED, None, True),
        (None, UNDEFINED, False),
        (math.nan, math.nan, True),
        ([1, "a"], [1, "a"], True),
        ([1], [1, 2], False),
        ("1", 1, False),
        (Members([2, 1]), [1, 2], True),
        (Members([2, 1.0000000001]), [1.0, 2], True),
        (Members([2, 2]), [1, 2], False),
        ([2, 1], Members([1, 2]), False),
        (Members([[1]]), Members([[1]]), True),
        ({1: "a"}, {"1": "a"}, True),
        ({1: "a", "1": "a"}, {"1": "a"}, False),
        ({"a": 1}, {"a": 2}, False),
        ({"a": 1}, {"b": 1}, False),
        (Opaque("K", "3"), 3, False),
        (Opaque("K", "3"), "3", False),
        ([], {}, False),
    ],
)
def test_same(actual: object, expected: object, equal: bool) -> None:
    assert same(actual, expected) is equal


def test_shown() -> None:
    value = [1, 2.0, 0.5, "é", True, None, UNDEFINED, math.nan, -math.inf, {"a": Members([1])}, Opaque("K", "")]
    assert shown(value) == '[1, 2, 0.5, "é", true, null, undefined, NaN, -Infinity, {"a": {1}}, <K>]'
    assert shown(1 << 20_000) == "an integer of 20001 bits"
