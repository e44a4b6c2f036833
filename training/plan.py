"""Which examples an optimiser step learns from: a seeded order over fixed data, and a cursor that says where it is."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

from training.errors import BadData
from training.seeds import derived

E = TypeVar("E")
E_co = TypeVar("E_co", covariant=True)


class Plan(Protocol[E_co]):
    """Examples, step after step; equal on all ranks. What is drawn depends on the state and on nothing else."""

    def draw(self) -> Sequence[E_co]:
        """The examples of the next optimiser step, of all ranks together."""
        ...

    def state(self) -> dict[str, Any]:
        """Where it stands, as JSON; part of a checkpoint."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        ...


def judged(examples: Sequence[E], most: int, seed: int) -> list[E]:
    """The held-out examples that are looked at before each checkpoint: at most so many, the same ones for a seed."""
    return random.Random(derived(seed, "judged")).sample(examples, min(len(examples), most))


class Shuffled(Generic[E]):
    """Fixed data in a new order each epoch; a share of each step may come from a second set (CodeRL, RLTF: references
    for the cross-entropy part). An epoch is one of the first set."""

    def __init__(
        self, examples: Sequence[E], size: int, *, seed: int, others: Sequence[E] = (), share: float = 0.0
    ) -> None:
        """`size` examples a step, `share` of them from `others`. Raises BadData if a set is empty that is needed."""
        self._other = round(size * share)
        self._own = size - self._other
        if self._own and not examples:
            raise BadData(
                "there is nothing to learn from: no example is left; look at the counts of refused samples, and "
                "collect more of problems that the model solves sometimes"
            )
        if self._other and not others:
            raise BadData(
                "the algorithm mixes in reference solutions, and there are none; give problems that have them"
            )
        self._sets = (_Order(examples, f"{seed}/own"), _Order(others, f"{seed}/other"))

    def draw(self) -> list[E]:
        """See Plan.draw."""
        own, other = self._sets
        return [own.next() for _ in range(self._own)] + [other.next() for _ in range(self._other)]

    def state(self) -> dict[str, Any]:
        """See Plan.state."""
        return {"cursors": [order.cursor for order in self._sets]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """See Plan.restore."""
        for order, cursor in zip(self._sets, state["cursors"], strict=True):
            order.cursor = int(cursor)

    @property
    def epoch(self) -> float:
        """How often the first set was gone through."""
        own, other = self._sets
        return own.rounds if self._own else other.rounds


class _Order(Generic[E]):
    """One set, shuffled anew for each time it is gone through."""

    def __init__(self, items: Sequence[E], seed: str) -> None:
        self._items = items
        self._seed = seed
        self._shuffled: tuple[int, list[int]] = (-1, [])
        self.cursor = 0
        """Examples drawn so far."""

    @property
    def rounds(self) -> float:
        return self.cursor / len(self._items)

    def next(self) -> E:
        turn, at = divmod(self.cursor, len(self._items))
        if self._shuffled[0] != turn:
            order = list(range(len(self._items)))
            random.Random(f"{self._seed}/{turn}").shuffle(order)
            self._shuffled = (turn, order)
        self.cursor += 1
        return self._items[self._shuffled[1][at]]
