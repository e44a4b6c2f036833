"""The judge's reports, several in one write: each alone would wake the server.

Standard library only: this module runs inside the jail.
"""

from __future__ import annotations

import signal
import time
from typing import Any

from agent.sandbox.wire import frames
from agent.sandbox.wire.codec import Json
from agent.sandbox.wire.rpc import Peer

_SECONDS = 0.01
"""No report waits longer, so that a test which hangs is known by then."""


class Batch:
    """Reports on their way to the server. The newest has SIGALRM and the real-time interval timer of its process."""

    _newest: Batch | None = None
    """In whose name the signal is handled: the handler stays, so that a process has it from the template."""

    def __init__(self, server: Peer) -> None:
        self._server = server
        self._waiting: list[bytes] = []
        self._since = 0.0
        self._writing = False
        if Batch._newest is None:
            signal.signal(signal.SIGALRM, _on_alarm)
        Batch._newest = self

    def send(self, message: dict[str, Json]) -> None:
        """Send soon. Raises Gone, and Unserialisable if the message is too large."""
        frame, now = frames.pack(message), time.monotonic()
        self._waiting.append(frame)
        if len(self._waiting) == 1:
            self._since = now
            signal.setitimer(signal.ITIMER_REAL, _SECONDS)
        if now - self._since > _SECONDS:
            self.flush()

    def flush(self) -> None:
        """Send all that waits. Raises Gone."""
        if self._writing:
            return
        self._writing = True
        try:
            while self._waiting:
                waiting, self._waiting = self._waiting, []
                self._server.write(b"".join(waiting))
        finally:
            self._writing = False


def _on_alarm(number: int, frame: Any) -> None:
    if Batch._newest is not None:
        Batch._newest.flush()
