"""Short-term memory: the newest feedback of each conversation and of each problem family, in a bounded window.

It lives in this process and survives nothing; `entries` makes it again from stored trajectories. An entry names its
trajectory and attempt and copies no program. Training takes a window as the support set of its inner loop (FALCON,
arXiv 2410.21349, by our reconstruction).
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Literal

from memory.experience import Selection
from memory.records import CaseResult, Outcome, Quality, Trajectory, Verdict

MAX_TEXT = 200
"""Characters of an entry's text that are kept; of its error, half as many."""
MAX_LINES = 8
"""Blamed lines that are kept."""

Kind = Literal["compiler", "test", "style", "complexity", "instruction"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that a judge of quality says about a program."""

    kind: Kind
    text: str
    line: int | None = None
    """1-based line of the program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """Whose window is meant. Tenants never share one."""

    tenant: str
    scope: Literal["session", "family"]
    name: str
    """Id of the conversation, or of the problem family."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One piece of feedback on one attempt."""

    kind: Kind
    """compiler: it does not compile. test: how its tests ended, a pass included. The others: a judge's finding."""
    text: str
    """One short line."""
    outcome: Outcome
    """Of the attempt; never `sandbox_error`."""
    passed: int
    total: int
    error: str = ""
    """The exception's class, or the outcome where there is none; empty for a pass and for findings."""
    lines: tuple[int, ...] = ()
    """Blamed lines of the program, from 1."""
    quality: Quality = field(default_factory=Quality)
    trajectory_id: str
    attempt: int
    """Index in the trajectory's attempts."""
    consent: bool
    """Whether the tenant allows training on the trajectory."""
    time: float
    """Unix time, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One attempt of a support set: the program and its tokens are in the trajectory store."""

    trajectory_id: str
    attempt: int
    entries: tuple[Entry, ...]


class Recent:
    """The windows. Every method is quick and may be called from any task or thread."""

    def __init__(
        self,
        *,
        entries: int = 32,
        seconds: float = 6 * 3600.0,
        windows: int = 1000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Keep the newest `entries` of each window for `seconds`, in at most `windows` of all tenants together: the one
        that was used least recently goes first. That bounds memory to about 1 kB · entries · windows."""
        self._entries = entries
        self._seconds = seconds
        self._most = windows
        self._clock = clock
        self._windows: OrderedDict[_Place, deque[Entry]] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, keys: Sequence[Key], entries: Sequence[Entry]) -> None:
        """Put entries, in the order of their time, into each of these windows. Long texts are cut."""
        kept = [_cut(entry) for entry in entries[-self._entries :]]
        if not kept:
            return
        with self._lock:
            for key in keys:
                place = _place(key)
                self._windows.setdefault(place, deque(maxlen=self._entries)).extend(kept)
                self._windows.move_to_end(place)
            while len(self._windows) > self._most:
                self._windows.popitem(last=False)

    def recent(self, key: Key) -> tuple[Entry, ...]:
        """The entries of one window that are young enough, oldest first."""
        place = _place(key)
        oldest = self._clock() - self._seconds
        with self._lock:
            window = self._windows.get(place)
            if window is None:
                return ()
            young = [entry for entry in window if entry.time >= oldest]
            self._put(place, young)
            return tuple(young)

    def support(self, key: Key) -> tuple[Sample, ...]:
        """One window as training takes it: the attempts that the tenant allows to train on, oldest first."""
        allowed = [entry for entry in self.recent(key) if entry.consent]
        order = {(entry.trajectory_id, entry.attempt): place for place, entry in reversed([*enumerate(allowed)])}
        allowed.sort(key=lambda entry: order[entry.trajectory_id, entry.attempt])
        return tuple(
            Sample(trajectory_id=trajectory, attempt=attempt, entries=tuple(group))
            for (trajectory, attempt), group in groupby(allowed, lambda entry: (entry.trajectory_id, entry.attempt))
        )

    def purge(self, selection: Selection) -> int:
        """Forget the selected entries; the number forgotten, each once for every window it was in."""
        forgotten = 0
        with self._lock:
            for place, window in list(self._windows.items()):
                if selection.tenant in (None, place[0]):
                    kept = [entry for entry in window if not _selected(entry, selection)]
                    forgotten += len(window) - len(kept)
                    if len(kept) < len(window):
                        self._put(place, kept)
        return forgotten

    def _put(self, place: _Place, entries: Sequence[Entry]) -> None:
        if entries:
            self._windows[place] = deque(entries, maxlen=self._entries)
            self._windows.move_to_end(place)
        else:
            del self._windows[place]


def entries(
    trajectory: Trajectory,
    findings: Mapping[int, tuple[Quality, Sequence[Finding]]] | None = None,
) -> tuple[Entry, ...]:
    """What a trajectory leaves in the short-term memory: for each attempt that was executed how it ended, then the
    findings on it. `findings` has the judges' result by index of the attempt. Entries are as old as the trajectory's
    end."""
    made: list[Entry] = []
    for index, attempt in enumerate(trajectory.attempts):
        verdict = attempt.verdict
        if verdict is None or verdict.outcome is Outcome.SANDBOX_ERROR:
            continue
        quality, found = (findings or {}).get(index, (Quality(), ()))
        ended = Entry(
            kind="compiler" if verdict.outcome is Outcome.COMPILE_ERROR else "test",
            text=_text(verdict),
            outcome=verdict.outcome,
            passed=verdict.passed,
            total=verdict.total,
            error=_error(verdict),
            lines=_blamed(verdict),
            quality=quality,
            trajectory_id=trajectory.id,
            attempt=index,
            consent=trajectory.consent,
            time=trajectory.ended,
        )
        made.append(ended)
        made += [replace(ended, kind=one.kind, text=one.text, error="", lines=_line(one)) for one in found]
    return tuple(_cut(entry) for entry in made)


_Place = tuple[str, bytes]
"""Tenant, and a digest of the whole key: names of any length take the same room."""


def _place(key: Key) -> _Place:
    text = "\0".join((key.tenant, key.scope, key.name))
    return key.tenant, hashlib.sha256(text.encode(errors="surrogatepass")).digest()


def _cut(entry: Entry) -> Entry:
    return replace(entry, text=entry.text[:MAX_TEXT], error=entry.error[: MAX_TEXT // 2], lines=entry.lines[:MAX_LINES])


def _selected(entry: Entry, selection: Selection) -> bool:
    return (
        selection.trajectory_id in (None, entry.trajectory_id)
        and (selection.since is None or entry.time >= selection.since)
        and (selection.until is None or entry.time < selection.until)
    )


def _text(verdict: Verdict) -> str:
    if verdict.outcome is Outcome.PASSED:
        return f"{verdict.passed} of {verdict.total} tests pass" if verdict.total else "loads"
    if verdict.error is not None and verdict.outcome is not Outcome.FAILED_TEST:
        text = verdict.error.message
    else:
        case = next((case for case in verdict.cases if case.outcome is not Outcome.PASSED), None)
        text = "" if case is None else _case(case)
    return " ".join(text[: 4 * MAX_TEXT].split())


def _case(case: CaseResult) -> str:
    if case.expected is not None and case.actual is not None:
        return f"{_short(case.name)}: expected {_short(case.expected)}, got {_short(case.actual)}"
    return f"{_short(case.name)}: {_short(case.message or case.outcome.value)}"


def _short(text: str) -> str:
    most = MAX_TEXT // 3
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _error(verdict: Verdict) -> str:
    if verdict.outcome is Outcome.PASSED:
        return ""
    return verdict.error.type if verdict.error is not None else verdict.outcome.value


def _blamed(verdict: Verdict) -> tuple[int, ...]:
    if verdict.error is None:
        return ()
    if verdict.error.span is not None:
        first, _, last, _ = verdict.error.span
        return tuple(range(first, min(last, first + MAX_LINES - 1) + 1))
    return () if verdict.error.line is None else (verdict.error.line,)


def _line(finding: Finding) -> tuple[int, ...]:
    return () if finding.line is None else (finding.line,)
