"""Makes a confined process another program: a compiler, an interpreter or a compiled program.

    this process -> server   {"confined": true}, so that what ends without it is known to be a failure of ours;
                             {"failed", "token"} where the command could not be started

Standard library only: this module runs inside the jail.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.sandbox.wire import frames

CHANNEL, FILES = 3, 4
FAILED = 120
"""Exit status where the command could not be started."""
_CHUNK = 1 << 20
_CONFINED = frames.pack({"confined": True})


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What is executed, with descriptor 4 as what it is made of."""

    executable: str
    """Its path; empty for descriptor 4 itself."""
    argv: Sequence[str]
    environment: Mapping[str, str]
    files: Sequence[tuple[str, int]] = ()
    """Path and size of the files to be made of the contents of descriptor 4, in their order there."""
    collect: str = ""
    """A file that the command makes, which then takes the place of what descriptor 4 held; empty for none."""
    counts_data: bool = False
    """The memory limit counts what is written to and not the address space."""
    forks: bool = False
    """The command may start processes."""
    talks: bool = False
    """The command keeps descriptor 3."""
    token: str
    """Says, in the report of a command that could not be started, that no program made it; no program learns it."""


def run(command: Mapping[str, Any]) -> int:
    """Become the command (the fields of `Command`); returns only where it is another process's or could not be
    started: the exit status."""
    os.write(CHANNEL, _CONFINED)
    try:
        for path, size in command["files"]:
            _cut(path, size)
        if not command["collect"]:
            _become(command)
        pid = os.fork()
        if pid == 0:
            _become(command)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status == 0:
            _collect(command["collect"])
        return status if status >= 0 else 128 - status
    except OSError as error:
        os.write(CHANNEL, frames.pack({"failed": str(error), "token": command["token"]}))
        return FAILED


def _cut(path: str, size: int) -> None:
    """The next `size` bytes of descriptor 4 as a file."""
    with open(path, "wb") as file:  # noqa: PTH123
        while size > 0:
            chunk = os.read(FILES, min(size, _CHUNK))
            if not chunk:
                raise OSError("the files of a command are shorter than was said")
            file.write(chunk)
            size -= len(chunk)


def _become(command: Mapping[str, Any]) -> None:
    """Raises OSError."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    os.set_inheritable(CHANNEL, command["talks"])
    os.set_inheritable(FILES, False)
    os.execve(command["executable"] or FILES, command["argv"], command["environment"])


def _collect(path: str) -> None:
    os.lseek(FILES, 0, os.SEEK_SET)
    os.ftruncate(FILES, 0)
    with open(path, "rb") as made, open(FILES, "wb", closefd=False) as target:  # noqa: PTH123
        while chunk := made.read(_CHUNK):
            target.write(chunk)
