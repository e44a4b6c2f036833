"""The versions on disk and what became of each.

    candidate ─► proved ─► live ─► proved (superseded, or rolled back by hand)
        │           │        └───► refused (rolled back because it did worse)
        └───────────┴─► refused, retired ─► candidate (loaded again)

`live` is what the pointer file says; the other states stand in `adapters/states.json`, which the server alone writes.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agent.adapters import KINDS, Adapter, Kind, Live, number_of, published, read_live, replace_text, write_live
from agent.errors import AdapterError
from memory.wire import from_json, to_plain

_log = logging.getLogger("burnish.adapters")


class State(StrEnum):
    """What a version is at present."""

    CANDIDATE = "candidate"
    """On disk, not proved."""
    PROVED = "proved"
    """Loaded everywhere, and the engine answers with it."""
    LIVE = "live"
    """What `burnish` answers with."""
    REFUSED = "refused"
    """Not proved, turned down by the gate, or rolled back because it did worse."""
    RETIRED = "retired"
    """Not loaded any more; its folder is kept for a while."""


ROUTABLE = (State.PROVED, State.LIVE)
"""In which requests may be sent to a version, if it is loaded too."""

TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.CANDIDATE: frozenset({State.PROVED, State.REFUSED, State.RETIRED}),
    State.PROVED: frozenset({State.LIVE, State.REFUSED, State.RETIRED}),
    State.LIVE: frozenset({State.PROVED, State.REFUSED}),
    State.REFUSED: frozenset({State.CANDIDATE, State.RETIRED}),
    State.RETIRED: frozenset({State.CANDIDATE}),
}


class IllegalTransition(Exception):
    """A version cannot become this from what it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What is known of a version beside its folder."""

    state: State = State.CANDIDATE
    reason: str = ""
    """Why it is refused or retired."""
    changed: float = 0.0
    """Unix time of the last change of state."""
    gate: dict[str, Any] | None = None
    """What the gate found."""
    proof: list[dict[str, Any]] = field(default_factory=list)
    """What the probe found, per replica."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One version."""

    adapter: Adapter
    mark: Mark

    @property
    def state(self) -> State:
        """What it is at present."""
        return self.mark.state


class Registry:
    """Folders, marks and the live pointer of one data directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._marks: dict[str, Mark] = {}
        self._adapters: dict[str, Adapter] = {}
        self._read_marks()
        self.scan()

    def scan(self) -> None:
        """Take note of folders that were published or deleted since."""
        self._adapters = {adapter.name: adapter for adapter in published(self.root)}

    def live(self) -> Live:
        """The pointer, read now. One that cannot be read counts as none, which is logged."""
        try:
            return read_live(self.root)
        except AdapterError as error:
            _log.error("the base model answers: %s", error)
            return Live()

    def names(self) -> list[str]:
        """Every version, by kind and number."""
        return list(self._adapters)

    def adapter(self, name: str) -> Adapter | None:
        """What was published under a name, looked up on disk if it is new; it never changes."""
        if name not in self._adapters:
            self.scan()
        return self._adapters.get(name)

    def find(self, name: str) -> Entry | None:
        """One version, and what it is now."""
        adapter = self.adapter(name)
        if adapter is None:
            return None
        mark = self._marks.get(name, Mark())
        live = self.live()
        state = State.LIVE if name in (live.actor, live.critic) else mark.state
        return Entry(adapter=adapter, mark=replace(mark, state=state))

    def entries(self) -> list[Entry]:
        """Every version that is on disk now."""
        self.scan()
        return [entry for name in self._adapters if (entry := self.find(name)) is not None]

    def become(self, name: str, state: State, reason: str = "", **known: Any) -> None:
        """Change a version's state and keep what is `known` of it (gate, proof). `live` comes by `point` alone.

        Raises IllegalTransition, AdapterError if the disk does not take it.
        """
        entry = self.find(name)
        before = State.CANDIDATE if entry is None else entry.state
        if state is not before and state not in TRANSITIONS[before]:
            raise IllegalTransition(f"{name} is {before} and cannot become {state}")
        mark = self._marks.get(name, Mark())
        self._keep(name, replace(mark, state=state, reason=reason, changed=time.time(), **known))

    def point(self, kind: Kind, name: str | None, previous: tuple[str | None, ...]) -> None:
        """Make a version, or with None the base model, live in one step; what was live is proved from then on.

        Raises IllegalTransition, AdapterError if the disk does not take it; then nothing has changed.
        """
        if name is not None:
            entry = self.find(name)
            if entry is None or (entry.state is not State.LIVE and State.LIVE not in TRANSITIONS[entry.state]):
                raise IllegalTransition(f"{name} is {entry.state if entry else 'absent'} and cannot become live")
        write_live(self.root, self.live().pointed(kind, name, previous))

    def forget(self, name: str) -> None:
        """Drop the mark of a version whose folder is gone."""
        self._adapters.pop(name, None)
        self._marks.pop(name, None)
        self._write_marks()

    def leftovers(self, age_s: float) -> list[Path]:
        """Folders that a writer, or a deletion, left unfinished so long ago."""
        limit = time.time() - age_s
        return [path for path in self.root.glob(".*@*") if path.is_dir() and path.stat().st_mtime < limit]

    def order(self, kind: Kind) -> list[str]:
        """The versions worth keeping loaded, the most needed first: live, the one before, then the newest proved."""
        live = self.live()
        needed = [live.of(kind), *live.before(kind)[:1]]
        known = [self.find(name) for name in self._adapters]
        proved = [
            entry.adapter.name
            for entry in known
            if entry is not None and entry.adapter.kind == kind and entry.state is State.PROVED
        ]
        proved.sort(key=number_of, reverse=True)
        there = [entry for name in needed if name is not None and (entry := self.find(name)) is not None]
        served = [entry.adapter.name for entry in there if entry.state in (State.PROVED, State.LIVE)]
        return list(dict.fromkeys([*served, *proved]))

    def needed(self) -> set[str]:
        """Versions that a rollback may go back to."""
        live = self.live()
        return {name for kind in KINDS for name in (live.of(kind), *live.before(kind)) if name is not None}

    def _keep(self, name: str, mark: Mark) -> None:
        before = self._marks.get(name)
        self._marks[name] = mark
        try:
            self._write_marks()
        except AdapterError:
            if before is None:
                del self._marks[name]
            else:
                self._marks[name] = before
            raise

    def _write_marks(self) -> None:
        plain = {name: to_plain(mark) for name, mark in self._marks.items()}
        try:
            replace_text(self.root / "states.json", json.dumps(plain, indent=1) + "\n")
        except OSError as error:
            raise AdapterError(f"the states of the adapters cannot be written: {error}") from error

    def _read_marks(self) -> None:
        file = self.root / "states.json"
        try:
            plain = json.loads(file.read_text()) if file.exists() else {}
            self._marks = {name: from_json(Mark, json.dumps(mark)) for name, mark in plain.items()}
        except (OSError, ValueError, ValidationError) as error:
            _log.error("%s cannot be read, every version counts as new: %s", file, error)
