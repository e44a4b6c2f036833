"""What a log says about why its process ended, without the stack frames and shutdown noise around it."""

from __future__ import annotations

import re
from collections import deque
from pathlib import Path

_PREFIX = re.compile(r"^(\(\w[\w-]* pid=\d+\) ?)?((INFO|WARNING|ERROR) \d\d-\d\d \d\d:\d\d:\d\d \[\S+\] ?)?")
_NOISE = re.compile(
    r"^(\s*$|\s{4,}|  File \"|Traceback|nanobind:| - |See https://nanobind|\S+ UserWarning: resource_tracker"
    r"|  warnings\.warn|    For further information|.*\[shutdown\])"
)
_FAILURE = re.compile(r"error|exception|killed|cannot", re.IGNORECASE)
_LOOK_BACK = 400
_WIDTH = 300


def last_words(log: Path, start: int, count: int = 8) -> list[str]:
    """The last telling lines after byte `start`, oldest first."""
    with log.open("rb") as file:
        file.seek(start)
        lines = [line.decode(errors="replace") for line in deque(file, _LOOK_BACK)]
    told = [text for line in lines if not _NOISE.match(text := _PREFIX.sub("", line).rstrip())]
    return [text[:_WIDTH] for text in told[-count:]]


def cause(words: list[str]) -> str:
    """The line that names the failure; empty if none does."""
    return next((text.strip() for text in reversed(words) if _FAILURE.search(text)), "")
