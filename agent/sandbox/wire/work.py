"""What decoding a message may cost where no clock watches over it.

Keys chosen for it make the time of a dict or a set quadratic, be it that they share a hash or that each finds the
places taken where it is looked for. So a table is filled in thought before it is filled in fact. Standard library only:
this module runs inside the jail.
"""

from __future__ import annotations

from collections.abc import Sequence

from agent.sandbox.wire.codec import TooMuch

_STEPS = 2_000_000
"""About half a second."""
_FEW = 8
"""Keys that cannot cost much, whatever they are."""
_RANDOM = frozenset({str, bytes})
"""Types whose hashes nobody can choose where they are made with random numbers, as in the server."""
_NUMBERS = frozenset({int, float, bool, str, bytes, type(None)})
_NUMBER, _OTHER = 8, 16
"""Steps that a key costs where nothing collides."""
_HASH_BITS = (1 << 64) - 1
_NEIGHBOURS = 9
"""Places that a set tries next to one that is taken."""


class Work:
    """The steps left for one message."""

    def __init__(self) -> None:
        self._left = _STEPS

    def spend(self, steps: int) -> None:
        """Raises TooMuch if they are too many."""
        self._left -= steps
        if self._left < 0:
            raise TooMuch("more work than one message may make")

    def of_dict(self, keys: Sequence[object]) -> None:
        """Count what a dict of `keys` takes. Raises TooMuch if it is too much."""
        if len(keys) >= _FEW:
            self._count(keys, 0)

    def of_set(self, keys: Sequence[object]) -> None:
        """Count what a set of `keys` takes. Raises TooMuch if it is too much."""
        if len(keys) >= _FEW:
            self._count(keys, _NEIGHBOURS)

    def _count(self, keys: Sequence[object], neighbours: int) -> None:
        kinds = set(map(type, keys))
        if kinds <= _RANDOM:
            return
        self.spend(len(keys) * (_NUMBER if kinds <= _NUMBERS else _OTHER))
        hashes = [hash(key) & _HASH_BITS for key in keys]
        size, filled = 8, 0
        while filled < len(keys):
            filled = min(size * 3 // 5 if neighbours else size * 2 // 3, len(keys))
            self._fill(keys, hashes[:filled], size - 1, neighbours)
            size *= 4 if neighbours and filled < 50_000 else 2

    def _fill(self, keys: Sequence[object], hashes: list[int], mask: int, neighbours: int) -> None:
        places: list[int | None] = [None] * (mask + 1)
        for number, wanted in enumerate(hashes):
            at = wanted & mask
            if places[at] is not None:
                at = self._free(keys[number], wanted, hashes, places, neighbours)
            places[at] = number

    def _free(self, key: object, wanted: int, hashes: list[int], places: list[int | None], neighbours: int) -> int:
        """Where `key` finds a place, as the interpreter looks for it."""
        mask = len(places) - 1
        start, rest = wanted & mask, wanted
        while True:
            for at in range(start, start + 1 + (neighbours if start + neighbours <= mask else 0)):
                taken = places[at]
                if taken is None:
                    return at
                self.spend(1 + _size(key) if hashes[taken] == wanted else 1)
            rest >>= 5
            start = (start * 5 + 1 + rest) & mask


def _size(key: object) -> int:
    """What comparing `key` with an equal one costs."""
    return 1 + sum(map(_size, key)) if isinstance(key, tuple | frozenset) else 1
