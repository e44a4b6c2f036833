"""Child processes that report on stdout, can be stopped at any moment and leave nothing behind."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

TICK_S = 0.5
_GRACE_S = 5.0
_TAIL_LINES = 30


class ChildFailed(Exception):
    """The child ended with a status other than 0; `.tail` is the end of its stderr."""

    def __init__(self, status: int, tail: str) -> None:
        super().__init__(f"status {status}: {tail}")
        self.status = status
        self.tail = tail


def tethered(command: Sequence[str], grace_s: float) -> list[str]:
    """`command` so that all of it ends when the pipe on its stdin closes. Start it in a session of its own."""
    return [sys.executable, "-I", "-S", str(Path(__file__).with_name("tether.py")), str(grace_s), *command]


def lines(command: Sequence[str], tick: Callable[[], None], env: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run `command` to its end, yielding lines of its stdout. Raises ChildFailed.

    `tick` is called at least every half second. Whatever it raises, or closing the iterator, ends the child.
    """
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            tethered(command, _GRACE_S),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, **(env or {})},
            start_new_session=True,
            text=True,
            errors="replace",
        ) as process,
    ):
        assert process.stdin is not None and process.stdout is not None
        received: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        reader = threading.Thread(target=_read, args=(process.stdout, received), daemon=True)
        reader.start()
        try:
            while True:
                tick()
                try:
                    line = received.get(timeout=TICK_S)
                except queue.Empty:
                    continue
                if line is None:
                    break
                yield line.rstrip("\n")
        finally:
            process.stdin.close()
            _end(process)
            reader.join()
        if process.returncode != 0:
            raise ChildFailed(process.returncode, _tail(errors.fileno()))


def _read(stream: Iterator[str], received: queue.SimpleQueue[str | None]) -> None:
    for line in stream:
        received.put(line)
    received.put(None)


def _end(process: subprocess.Popen[str]) -> None:
    try:
        process.wait(_GRACE_S + 5)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _tail(file: int) -> str:
    size = os.fstat(file).st_size
    text = os.pread(file, 20_000, max(0, size - 20_000)).decode(errors="replace").replace("\r", "\n")
    return "\n".join([line for line in text.splitlines() if line.strip()][-_TAIL_LINES:])
