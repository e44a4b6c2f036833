"""Arguments after a call, put into the objects that the test holds."""

from __future__ import annotations

from collections import deque

from agent.sandbox.judge.merging import merge


def test_merge_keeps_identity() -> None:
    inner, pair, queue = [1], ([1], 2), deque([[1], 2])
    held, first = pair[0], queue[0]
    old = [inner, pair, queue]
    merge(old, [[1, 2], ([3], 2), deque([[4]])], ())
    assert old == [[1, 2], ([3], 2), deque([[4]])]
    assert old[0] is inner
    assert old[1] is pair
    assert pair[0] is held
    assert queue[0] is first


def test_merge_leaves_objects_of_the_tests_alone() -> None:
    class Box:
        def __init__(self, held: int) -> None:
            self.held = held

    one, two = Box(1), Box(2)
    old: list[object] = [one, two]
    merge(old, [one, one], ())
    assert old == [one, one]
    assert (one.held, two.held) == (1, 2)
    merge(old, [Box(3), Box(4)], {Box})
    assert old[0] is one
