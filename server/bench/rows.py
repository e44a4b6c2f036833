"""One result per problem and mode, kept on disk as soon as it is known.

Beside RESULT.json stands RESULT.json.partial while a run is unfinished: JSON lines, the first one saying what the run
measures, each further one a `Row`. A run that is started again with the same --out goes on from there; rows of ours
that failed are asked again. When every row is there the file is removed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What became of one problem in one mode."""

    mode: str
    task_id: str
    passed: bool = False
    """All hidden tests ran and passed."""
    outcome: str = ""
    """The judge's outcome; empty if the problem was not judged."""
    detail: str = ""
    """First error of the judged program."""
    error: str | None = None
    """Our failure (server, sandbox or test file): the row says nothing about the program."""
    verdict: str | None = None
    """What the server claimed: passed, failed or unverified; None for plain completions."""
    tests: dict[str, Any] = field(default_factory=dict)
    """What the claim rests on: source, passed, total."""
    candidates: int = 1
    rounds: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    """Over all candidates."""
    answer_tokens: int = 0
    """Completion tokens of the returned answer alone."""
    request_seconds: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)
    """Where the server says the time went; empty for plain completions."""
    finish_reason: str = ""
    model_version: str = ""
    trajectory_id: str = ""
    code: str = ""
    session: float = 0.0
    """When the run that produced this row began with this mode (Unix time)."""
    at_seconds: float = 0.0
    """Seconds from then until this row was complete."""


class MismatchError(Exception):
    """The partial file beside --out belongs to a run that measured something else."""


class RowFile:
    """The rows of one run, mirrored in a partial file: each is flushed at once, one cut off by a crash is dropped."""

    def __init__(self, path: Path | None, identity: Mapping[str, Any]) -> None:
        """Goes on with the rows in `path`; without a path rows are in memory only.

        Raises MismatchError if the file was begun with another identity, OSError if it cannot be written.
        """
        self.rows: list[Row] = []
        self._path = path
        self._file: TextIO | None = None
        if path is None:
            return
        lines = path.read_bytes().rpartition(b"\n")[0].decode().splitlines() if path.exists() else []
        if lines:
            _compare(path, json.loads(lines[0]), identity)
            self.rows = [Row(**json.loads(line)) for line in lines[1:]]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines) or f"{json.dumps(dict(identity))}\n")
        self._file = path.open("a")

    def append(self, row: Row) -> None:
        """Keep one row."""
        self.rows.append(row)
        if self._file:
            self._file.write(f"{json.dumps(asdict(row))}\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file; its content stays."""
        if self._file:
            self._file.close()

    def remove(self) -> None:
        """Close and delete the file: the run is complete."""
        self.close()
        if self._path:
            self._path.unlink()


def _compare(path: Path, found: dict[str, Any], wanted: Mapping[str, Any]) -> None:
    different = [key for key in wanted if found.get(key) != wanted[key]]
    if different:
        values = ", ".join(f"{key} was {found.get(key)!r} and is now {wanted[key]!r}" for key in different)
        raise MismatchError(f"{path} belongs to another run: {values}; remove it or choose another --out")
