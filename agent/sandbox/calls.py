"""What a program is asked by the server, call by call."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice

from agent.sandbox.channel import Closed
from agent.sandbox.wire.codec import Json

_AHEAD = 16
_CHARACTERS_AHEAD = 8192
"""What a socket holds of, however it is written."""


class Calls:
    """Expressions on their way to a program and the replies to them. Some are sent ahead of the replies, the first with
    the program itself, so that neither side waits for the other each time."""

    def __init__(self, calls: Sequence[str]) -> None:
        self._calls = calls
        self._sent = 0
        self._asked: deque[int] = deque()

    @property
    def are_answered(self) -> bool:
        """Whether no reply is missing."""
        return self._sent == len(self._calls) and not self._asked

    @property
    def are_ahead(self) -> bool:
        """Whether a reply is missing."""
        return bool(self._asked)

    def with_program(self) -> list[dict[str, Json]]:
        """The first requests, to be sent before the program has been loaded; none if a socket may not hold them."""
        return self._requests(list(self._ahead()))

    def next(self) -> list[dict[str, Json]]:
        """The next requests, at least one if any is left; none as long as a reply is missing."""
        if self._asked:
            return []
        return self._requests(list(self._ahead()) or list(self._calls[self._sent : self._sent + 1]))

    def check(self, reply: dict[str, Json]) -> None:
        """Raises Closed unless this is the reply to the oldest request, whose number only that told."""
        if reply.get("id") != self._asked.popleft() or ("ok" not in reply and "err" not in reply):
            raise Closed("not a reply to this call")

    def _requests(self, calls: Sequence[str]) -> list[dict[str, Json]]:
        self._sent += len(calls)
        numbers = [secrets.randbits(62) for _ in calls]
        self._asked.extend(numbers)
        return [{"id": number, "op": "eval", "a": call} for number, call in zip(numbers, calls, strict=True)]

    def _ahead(self) -> Iterator[str]:
        size = 0
        for call in islice(self._calls, self._sent, self._sent + _AHEAD):
            size += len(call)
            if size > _CHARACTERS_AHEAD:
                return
            yield call
