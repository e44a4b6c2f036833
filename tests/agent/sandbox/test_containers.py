"""Containers that two sides hold."""

from __future__ import annotations

import collections
import copy
import random
from dataclasses import dataclass
from typing import Any

import pytest

from agent.sandbox.wire import codec, frames
from agent.sandbox.wire.codec import Json
from agent.sandbox.wire.containers import JUDGE, PROGRAM, Containers


class Node:
    def __init__(self, val: int, next: Node | None = None) -> None:
        self.val, self.next = val, next

    def sum(self) -> int:
        return self.val

    def __repr__(self) -> str:
        return repr(vars(self))


class NoMirrors:
    def tell(self, value: object) -> list[Json] | None:
        return None

    def make(self, told: list[Json], plain: object) -> object:
        raise codec.Malformed(str(told))


@dataclass
class Side:
    """One of two, and what it holds as its variables."""

    containers: Containers
    held: Any = None

    def show(self, other: Side, value: Any) -> None:
        frame = frames.pack(self.containers.encode(value))
        other.held = other.containers.decode(frames.unpack(frame[frames.HEADER.size :]))


def side(first: int) -> Side:
    def refuse(value: Any) -> Any:
        raise codec.Unserialisable(str(value))

    def resolve(wire: list[Json]) -> object:
        raise codec.Malformed(str(wire))

    def name_of(value: object) -> str | None:
        return "Node" if type(value) is Node else None

    return Side(Containers(first, refuse, resolve, name_of, {"Node": Node}.__getitem__, NoMirrors()))


@pytest.fixture
def judge() -> Side:
    return side(JUDGE)


@pytest.fixture
def program() -> Side:
    return side(PROGRAM)


def test_one_object_stays_one(judge: Side, program: Side) -> None:
    xs = [1]
    judge.show(program, (xs, {"a": xs}))
    first, second = program.held
    assert second["a"] is first
    program.show(judge, first)
    assert judge.held is xs
    row = [0]
    program.show(judge, [row] * 3)
    assert judge.held[0] is judge.held[2]


SAMPLES: list[tuple[Any, Any]] = [
    ([1, [2]], lambda held: held[1].append(True)),
    ({"a": {1}}, lambda held: held["a"].add(2)),
    ({1: 1, 2: 2}, lambda held: held.update({1: held.pop(1)})),
    (collections.OrderedDict(a=1, b=2), lambda held: held.move_to_end("a")),
    (collections.Counter("ab"), lambda held: held.update("a")),
    (collections.defaultdict(list, a=[1]), lambda held: held["b"].append(1)),
    (collections.deque([1, 2], 2), lambda held: held.append(3)),
    (bytearray(b"ab"), lambda held: held.extend(b"c")),
    ([1, 0.0, 1], lambda held: held.__setitem__(slice(None), [True, -0.0, 1.0])),
    (Node(1, Node(2)), lambda held: setattr(held.next, "val", [3])),
    (Node(1), lambda held: delattr(held, "next")),
]


@pytest.mark.parametrize(("value", "change"), SAMPLES)
def test_changes_are_seen(value: Any, change: Any, judge: Side, program: Side) -> None:
    value = copy.deepcopy(value)
    judge.show(program, value)
    theirs = program.held
    assert type(theirs) is type(value)
    change(theirs)
    program.show(judge, None)
    assert repr(value) == repr(theirs)
    if isinstance(value, list):
        value.append(value)
        judge.show(program, None)
        assert theirs[-1] is theirs


def test_nothing_is_told_of_what_did_not_change(judge: Side, program: Side) -> None:
    xs = [[1, (2, [3])], {"a": 1.5}, bytearray(b"x"), Node(1)]
    judge.show(program, xs)
    theirs = program.held
    assert theirs
    assert program.containers.encode(None) == {"v": None}
    assert judge.containers.encode(None) == {"v": None}


def test_what_one_side_lets_go_is_forgotten(judge: Side, program: Side) -> None:
    xs = [[1], ([2],)]
    judge.show(program, (xs, xs[0]))
    assert (len(judge.containers), len(program.containers)) == (3, 3)
    program.held = program.held[1]
    program.show(judge, None)
    assert (len(judge.containers), len(program.containers)) == (1, 1)
    program.held.append(7)
    program.show(judge, None)
    assert xs == [[1, 7], ([2],)]
    program.held = None
    judge.held = judge.containers.decode(program.containers.encode([[[]], {}]))
    assert judge.held == [[[]], {}]
    assert (len(judge.containers), len(program.containers)) == (0, 0)


def alike(left: object, right: object) -> None:
    """Both graphs have the same shape."""
    places: dict[int, int] = {}
    waiting = [(left, right)]
    while waiting:
        one, other = waiting.pop()
        assert type(one) is type(other)
        if isinstance(one, list | dict) and isinstance(other, list | dict):
            if id(one) in places:
                assert places[id(one)] == id(other)
                continue
            assert id(other) not in places.values()
            places[id(one)] = id(other)
            waiting += zip(flat(one), flat(other), strict=True)
        elif isinstance(one, tuple) and isinstance(other, tuple):
            waiting += zip(one, other, strict=True)
        else:
            assert repr(one) == repr(other)


def flat(held: Any) -> list[Any]:
    return held if isinstance(held, list) else [*held, *held.values()]


def inside(roots: list[Any]) -> list[Any]:
    """The containers that can be reached, each once."""
    found: dict[int, Any] = {}
    waiting = [root for root in roots if root is not None]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list | dict) and id(one) not in found:
            found[id(one)] = one
            waiting += flat(one)
        elif isinstance(one, tuple):
            waiting += one
    return list(found.values())


def change(held: Any, chance: random.Random, items: list[Any]) -> None:
    item = chance.choice([1, True, 1.0, "x", [], {}, ([], 2), *items, *zip(items)])
    if chance.random() < 0.3:
        held.clear()
    elif isinstance(held, dict):
        held[chance.randrange(4)] = item
    elif chance.random() < 0.7 or not held:
        held.append(item)
    else:
        held[chance.randrange(len(held))] = item


@pytest.mark.parametrize("seed", range(40))
def test_both_sides_stay_alike_whatever_is_done(seed: int) -> None:
    chance = random.Random(seed)
    sides = [side(JUDGE), side(PROGRAM)]
    variables: list[list[Any]] = [[], []]
    for turn in range(60):
        mine, theirs = variables if turn % 2 else variables[::-1]
        one, other = sides if turn % 2 else sides[::-1]
        if chance.random() < 0.3:
            mine.append(chance.choice([[], {}]))
            theirs.append(None)
        if mine and chance.random() < 0.2:
            place = chance.randrange(len(mine))
            del mine[place], theirs[place]
        for held in inside(mine):
            if chance.random() < 0.4:
                change(held, chance, inside(mine))
        held = None
        passed = [place for place, value in enumerate(theirs) if value is None or chance.random() < 0.2]
        one.show(other, tuple(mine[place] for place in passed))
        for place, value in zip(passed, other.held, strict=True):
            assert theirs[place] is None or theirs[place] is value
            theirs[place] = value
        other.held = value = None
        alike(tuple(mine), tuple(theirs))
        assert len(one.containers) == len(other.containers)


def test_long_chains(judge: Side, program: Side) -> None:
    head: Node | None = None
    for number in range(5000):
        head = Node(number, head)
    judge.show(program, head)
    found = program.held
    for number in reversed(range(5000)):
        assert found.val == number
        found = found.next
    assert found is None


def test_what_can_be_told_can_be_read(judge: Side, program: Side) -> None:
    judge.show(program, [[]] * 450_000)
    assert len(program.held) == 450_000
    row: list[object] = []
    with pytest.raises(codec.Unserialisable):
        judge.containers.encode([row] * 600_000)


def test_a_message_that_was_never_sent(judge: Side, program: Side) -> None:
    xs: list[object] = [1]
    judge.show(program, xs)
    xs.append("x" * frames.MAX_BYTES)
    with pytest.raises(codec.Unserialisable):
        frames.pack(judge.containers.encode([xs]))
    judge.containers.unsent()
    with pytest.raises(codec.Unserialisable):
        judge.containers.encode([xs, object()])
    xs[1] = 2
    judge.show(program, [xs])
    assert program.held == [[1, 2]]


@pytest.mark.parametrize(
    "wire",
    [
        None, {}, {"v": ["l"]}, {"v": ["l"], "n": 0}, {"v": ["l"], "n": 3.0}, {"v": ["l"], "n": -1}, {"v": ["l"], "n": "1"},
        {"v": ["@", 20]}, {"v": ["@", 1], "n": 1}, {"v": ["@", True]}, {"v": ["@", -2]}, {"v": ["@", "x"]}, {"v": ["@"]},
        {"v": ["t", ["l"], ["@", 10]], "n": 1}, {"v": ["t", ["l"], ["@", 3]], "n": 1},
        {"v": 1, "c": [[20, ["l"]]]}, {"v": 1, "c": [[1, ["l"]]]}, {"v": 1, "c": 5}, {"v": 1, "c": [[0, ["l", ["?"]]]]},
        {"v": 1, "c": [[4, ["l", 1]]]}, {"v": 1, "c": [[2, ["l", "a"]]]}, {"v": 1, "c": [[4, ["l", ["l"], 1]]], "n": 1},
        {"v": 1, "c": [[6, ["l", "sum", 1]]]}, {"v": 1, "c": [[6, ["l", "__class__", 1]]]}, {"v": 1, "c": [[6, ["l", 1, 1]]]},
        {"v": ["o", "Node"], "n": 1}, {"v": ["o", "int"], "n": 1, "o": [["l"]]}, {"v": 1, "o": [["l"]]},
        {"v": 1, "d": [0, 10**12]}, {"v": 1, "d": [0]}, {"v": 1, "d": 5}, {"v": ["h", "c", 1]}, {"v": ["s", ["l"]], "n": 1},
    ],
)  # fmt: skip
def test_what_no_side_may_tell(wire: Json, judge: Side, program: Side) -> None:
    xs = [1, {"a": 1}, bytearray(b"x"), Node(1)]
    judge.show(program, xs)
    program.containers.encode(None)
    with pytest.raises(codec.Malformed):
        judge.containers.decode(wire)
    assert xs[:3] == [1, {"a": 1}, bytearray(b"x")]


def test_numbers_are_given_once(judge: Side) -> None:
    held = judge.containers.decode({"v": ["l"], "n": 1})
    assert held == []
    for first in (1, 0, -1):
        with pytest.raises(codec.Malformed):
            judge.containers.decode({"v": ["l"], "n": first})
    judge.containers.decode({"v": ["l"], "n": 3, "d": [1, 1]})
    with pytest.raises(codec.Malformed):
        judge.containers.decode({"v": ["@", 1]})
