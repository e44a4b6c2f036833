"""Arguments that the program keeps after a call.

It holds copies of the tests' objects, which must follow what it does to them later. Standard library only: this module
runs inside the jail.
"""

from __future__ import annotations

import sys
from collections import deque

from agent.sandbox.program.exports import Exports
from agent.sandbox.wire import codec, frames
from agent.sandbox.wire.codec import Json

_COPIED_BACK = (list, dict, set, bytearray, deque)
_MOST = 4
_MAX_BYTES = 4096
"""Larger ones are left alone: each is looked at after every call."""


class Kept:
    """The last few mutable arguments that outlived their call."""

    def __init__(self, exports: Exports) -> None:
        self._exports = exports
        self._held: dict[int, tuple[object, bytes]] = {}
        self._count = 0

    def is_mutable(self, value: object) -> bool:
        """Whether the program can change an argument that was copied for it, or what lies in it."""
        if type(value) is tuple:
            return any(map(self.is_mutable, value))
        return isinstance(value, _COPIED_BACK) or self._exports.shared_name(value) is not None

    def keep(self, positional: list[object], named: dict[str, object]) -> list[Json]:
        """Remember those of the arguments that something else holds too; their places, in order of their numbers."""
        counts = [*_references(positional), *(count - 1 for count in _references(list(named.values())))]
        places: list[Json] = []
        for place, value, count in zip(
            [*range(len(positional)), *named], [*positional, *named.values()], counts, strict=True
        ):
            if count > _ALONE and self.is_mutable(value) and (packed := self._packed(value)) is not None:
                self._held[self._count] = value, packed
                self._count += 1
                places.append(place)
        for number in list(self._held)[:-_MOST]:
            del self._held[number]
        return places

    def changed(self) -> list[Json]:
        """Numbers and values of those that have changed since this was asked last."""
        found: list[Json] = []
        for number, (value, before) in self._held.items():
            now = self._packed(value)
            if now is not None and now != before:
                self._held[number] = value, now
                found.append([number, self._exports.encode(value)])
        return found

    def _packed(self, value: object) -> bytes | None:
        if isinstance(value, list | dict | set) and len(value) > _MAX_BYTES:
            return None
        try:
            packed = frames.pack(self._exports.encode(value))
        except (codec.Unserialisable, RecursionError):
            return None
        return packed if len(packed) <= _MAX_BYTES else None


def _references(values: list[object]) -> list[int]:
    return [sys.getrefcount(value) for value in values]


_ALONE = _references([[]])[0]
"""Count of a value that only one list holds."""
