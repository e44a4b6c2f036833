"""Plain data across the wall: what goes in comes out, and nothing else does."""

from __future__ import annotations

import datetime
import json
import math
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sandbox.wire import codec, decoding, frames

hashable = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=4),
    max_leaves=8,
)
plain = st.recursive(
    hashable
    | st.complex_numbers(allow_nan=False)
    | st.decimals(allow_nan=False)
    | st.fractions()
    | st.dates()
    | st.datetimes()
    | st.timedeltas(),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.tuples(inner, inner)
        | st.dictionaries(hashable, inner, max_size=5)
        | st.sets(hashable, max_size=5)
    ),
    max_leaves=20,
)


def round_trip(value: object) -> object:
    frame = frames.pack({"x": codec.encode(value)})
    body = frame[frames.HEADER.size :]
    assert frames.body_size(frame[: frames.HEADER.size]) == len(body)
    return decoding.decode(frames.unpack(body)["x"])


def kinds(value: object) -> object:
    """The types inside a value, in order."""
    if isinstance(value, dict):
        return type(value), [(kinds(key), kinds(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return type(value), [kinds(item) for item in value]
    return type(value)


@given(plain)
@settings(max_examples=300, deadline=None)
def test_round_trip(value: object) -> None:
    back = round_trip(value)
    assert back == value
    assert kinds(back) == kinds(value)


@pytest.mark.parametrize(
    "value",
    [
        2**63, -(2**63) - 1, 3**20000, 0.1, -0.0, math.inf, "\ud800", bytearray(b"x"), range(0, 10, 3), deque([1], 3),
        Decimal("NaN"), Fraction(1, 3), datetime.time(1, 2), 1e-320, {1: {2: [3]}}, (), set(), frozenset(), {},
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_special_values(value: object) -> None:
    back = round_trip(value)
    assert type(back) is type(value)
    assert back == value or repr(back) == repr(value)


def test_nan() -> None:
    back = round_trip(math.nan)
    assert isinstance(back, float)
    assert math.isnan(back)


def test_subclasses_travel_as_their_plain_base() -> None:
    class Liar(int):
        def __eq__(self, other: object) -> bool:
            return True

        def __index__(self) -> int:
            return 99

        __hash__ = int.__hash__

    class Word(str):
        def __str__(self) -> str:
            return "other"

    class Box(list[int]):
        def __iter__(self) -> Any:
            return iter([9])

    assert round_trip(Liar(7)) == 7
    assert type(round_trip(Liar(7))) is int
    assert round_trip(Word("word")) == "word"
    assert round_trip(Box([1])) == [1]
    assert round_trip(Counter("aab")) == {"a": 2, "b": 1}
    assert round_trip(defaultdict(int, {1: 2})) == {1: 2}
    assert round_trip(OrderedDict(a=1)) == {"a": 1}
    point = namedtuple("point", ["x", "y"])
    assert round_trip(point(1, 2)) == (1, 2)
    assert round_trip(point(1, 2)).x == 1  # type: ignore[attr-defined]


def test_what_is_not_plain() -> None:
    cyclic: list[object] = []
    cyclic.append(cyclic)
    deep: list[object] = []
    for _ in range(200):
        deep = [deep]
    wide: list[object] = [[]] * (codec.MAX_NODES + 1)
    for value in (object(), lambda: 1, cyclic, deep, wide, (x for x in "a"), json):
        with pytest.raises(codec.Unserialisable):
            codec.encode(value)
    with pytest.raises(codec.Unserialisable):
        frames.pack(codec.encode("x" * (frames.MAX_BYTES + 1)))


@pytest.mark.parametrize(
    "wire",
    [
        None, 1, {}, {"v": {"a": 1}, "o": []}, {"v": [], "o": []}, {"v": ["?"], "o": []}, {"v": ["d", 1], "o": []},
        {"v": ["s", ["l"]], "o": []}, {"v": ["o", "Node"]}, {"v": ["@", 0]},
        {"v": ["h", "c", 0], "o": []}, {"v": ["i", "zz"], "o": []}, {"v": ["b", "%"], "o": []},
        {"v": ["F", "0x1", "0x0"], "o": []}, {"v": ["F", "0x" + "f" * 50000, "0x1"], "o": []}, {"v": ["g", "eval"], "o": []},
        {"v": ["T", "date", "x"], "o": []}, {"v": ["N", "a", 5, ["t"]], "o": []}, {"v": ["N", "a", ["b"], ["t"]], "o": []},
        {"v": ["q", 1, ["r", 0, 3_000_000_000, 1]], "o": []}, {"v": ["N", "P", ["fi", "\ufb01"], ["t", 1, 2]], "o": []},
        {"v": ["l", *(["N", f"A{n}", ["a"], ["t", n]] for n in range(100))], "o": []},
        {"v": ["N", "P", [f"a{n}" for n in range(1000)], ["t", *range(1000)]], "o": []},
    ],
)  # fmt: skip
def test_malformed_values(wire: object) -> None:
    with pytest.raises(codec.Malformed):
        decoding.decode(wire)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=3) | st.sampled_from(list("ltszdbBcDFrqTnNohgi")),
        st.lists,
        max_leaves=15,
    )
)
@settings(max_examples=300, deadline=None)
def test_any_wire_is_a_value_or_malformed(wire: object) -> None:
    try:
        decoding.decode({"v": wire, "o": []})
    except codec.Malformed:
        return


@pytest.mark.parametrize(
    "body", [b"", b"[", b"[]", b"\xff", b"[" * 100_000, b"1", b'{"a"', b"[" + b"0," * 3_000_000 + b"0]"], ids=len
)
def test_malformed_frames(body: bytes) -> None:
    with pytest.raises(codec.Malformed):
        frames.unpack(body)


def test_frame_sizes() -> None:
    with pytest.raises(codec.Malformed):
        frames.body_size(b"\xff\xff\xff\xff")
    text = ",[{" * 1_000_000
    assert frames.unpack(json.dumps({"text": text}).encode()) == {"text": text}
