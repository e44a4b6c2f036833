"""After a promotion: does the new version do worse in traffic than what answered before?

Compared are the refined answers since the promotion with as many before it: the share that was verified, the share that
failed, the median time. A difference counts when it is larger than the margin and its 95 % interval leaves zero out
(Newcombe 1998, method 10, from Wilson's limits), so that a few unlucky answers roll nothing back.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import median

from agent.adapters import Kind
from agent.statistics import pass_at_1
from server.adapters.settings import AdapterSettings

_KEPT = 1_000
"""Answers remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How one refined request ended."""

    versions: tuple[str, ...] = ()
    """Actor and critic that it was answered with."""
    verified: bool | None
    """Whether its answer passed tests; None: there were none, or no answer."""
    failed: bool
    """Whether it ended in an error of ours."""
    seconds: float


@dataclass(frozen=True, slots=True)
class _Promotion:
    kind: Kind
    name: str
    at: float
    number: int
    """Answers seen until then."""
    before: tuple[Ending, ...]


class Watch:
    """Recent answers, and the promotions that are judged by them."""

    def __init__(self, settings: AdapterSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._recent: deque[tuple[int, Ending]] = deque(maxlen=_KEPT)
        self._number = 0
        self._promotions: dict[Kind, _Promotion] = {}

    def promoted(self, kind: Kind, name: str) -> None:
        """Watch a version from now on, against what was answered before."""
        if self._settings.watch_s > 0:
            before = tuple(ending for _, ending in self._recent)
            self._promotions[kind] = _Promotion(kind, name, self._clock(), self._number, before)

    def dismissed(self, kind: Kind) -> None:
        """Watch no more."""
        self._promotions.pop(kind, None)

    def saw(self, seen: Ending) -> None:
        """Take note of an answer."""
        self._recent.append((self._number, seen))
        self._number += 1

    def worse(self) -> dict[Kind, str]:
        """The promotions to be taken back, and why. One whose time is over is watched no more."""
        found: dict[Kind, str] = {}
        for kind, promotion in list(self._promotions.items()):
            after = [
                seen for number, seen in self._recent if number >= promotion.number and promotion.name in seen.versions
            ]
            reason = self._compared(promotion.before, after)
            if reason:
                found[kind] = f"{promotion.name} did worse than what answered before: {reason}"
                self.dismissed(kind)
            elif self._clock() - promotion.at > self._settings.watch_s:
                self.dismissed(kind)
        return found

    def _compared(self, before: Sequence[Ending], after: Sequence[Ending]) -> str:
        """Why the later answers are worse; empty if they are not, or too few."""
        settings = self._settings
        if len(after) < settings.watch_answers:
            return ""
        before = before[-max(len(after), settings.watch_answers) :]
        failures = [seen.failed for seen in before] or [False] * len(after)
        if _grew(failures, [seen.failed for seen in after], settings.watch_margin):
            return f"{_share([seen.failed for seen in after])} of its answers failed, before {_share(failures)}"
        past = [seen.verified for seen in before if seen.verified is not None]
        now = [seen.verified for seen in after if seen.verified is not None]
        if min(len(past), len(now)) >= settings.watch_answers and _grew(
            [not one for one in past], [not one for one in now], settings.watch_margin
        ):
            return f"{_share(now)} of its answers were verified, before {_share(past)}"
        times = [seen.seconds for seen in before if not seen.failed]
        later = [seen.seconds for seen in after if not seen.failed]
        if min(len(times), len(later)) >= settings.watch_answers and median(later) > settings.watch_slower * median(
            times
        ):
            return f"its answers took {median(later):.1f} s, before {median(times):.1f} s"
        return ""


def _grew(before: Sequence[bool], after: Sequence[bool], margin: float) -> bool:
    """Whether the share of True grew by more than the margin, and surely grew at all."""
    old, new = pass_at_1(sum(before), len(before)), pass_at_1(sum(after), len(after))
    growth = new.estimate - old.estimate
    low = growth - sqrt((new.estimate - new.low) ** 2 + (old.high - old.estimate) ** 2)
    return growth > margin and low > 0


def _share(of: Sequence[bool]) -> str:
    return f"{100 * sum(of) / max(1, len(of)):.0f} %"
