"""What decoding costs is known before it is done."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from agent.sandbox.wire import codec, decoding
from agent.sandbox.wire.work import Work

PRIME = (1 << 61) - 1


def on_one_way(size: int) -> Iterator[int]:
    """Keys that lie where a dict of so many places looks for others, one after the other, then others."""
    at = 1
    for _ in range(size * 2 // 5):
        yield at
        at = (5 * at + 1) % size
    numbers = random.Random(0)
    for _ in range(size // 5):
        yield numbers.randrange(size, 4 * size)


@pytest.mark.parametrize(
    "keys",
    [
        [PRIME * n + 5 for n in range(8, 5000)],
        [*range(60_000), *(PRIME * n + 5 for n in range(8, 60_000))],
        [(PRIME * n, n) for n in range(300_000)],
    ],
    ids=["one hash", "half of one hash", "many"],
)
@pytest.mark.parametrize("many", [set, dict.fromkeys])
def test_keys_that_collide(keys: list[object], many: object) -> None:
    wire = codec.encode(keys)
    pairs = [part for key in wire["v"][1:] for part in (key, None)]
    with pytest.raises(codec.Malformed):
        decoding.decode({"v": ["s", *wire["v"][1:]] if many is set else ["d", *pairs], "o": []}, work=Work())


def test_keys_that_find_each_place_taken() -> None:
    with pytest.raises(codec.Malformed):
        decoding.decode(codec.encode(dict.fromkeys(on_one_way(1 << 16))), work=Work())


@pytest.mark.parametrize(
    "keys",
    [
        range(100_000), range(-50_000, 50_000), range(0, 10**9, 10_000), [n / 10 for n in range(30_000)],
        [n << 40 for n in range(4_000)], [(n % 300, n // 300) for n in range(90_000)], [str(n) for n in range(300_000)],
        [(n % 300 - 150, n // 300 - 150) for n in range(90_000)], random.Random(0).sample(range(1 << 60), 100_000),
        [frozenset([n, n + 1]) for n in range(50_000)],
    ],
    ids=lambda keys: str(keys)[:30],
)  # fmt: skip
def test_honest_keys(keys: list[object]) -> None:
    for value in (set(keys), dict.fromkeys(keys, 0)):
        assert decoding.decode(codec.encode(value), work=Work()) == value


def test_the_same_key_again_and_again() -> None:
    assert decoding.decode({"v": ["s", *[1] * 200], "o": []}, work=Work()) == {1}


def test_values_without_end() -> None:
    for item in (["l"], ["s"], ["d", 1, 1], ["F", "0x1", "0x3"]):
        with pytest.raises(codec.Malformed):
            decoding.decode({"v": ["l", *[item] * 500_000], "o": []}, work=Work())
    assert decoding.decode({"v": ["l", *[["t", 1]] * 300_000], "o": []}, work=Work()) == [(1,)] * 300_000
    assert decoding.decode({"v": ["l", *[1] * 1_000_000], "o": []}, work=Work()) == [1] * 1_000_000
