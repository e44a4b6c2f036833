"""What may damage this process, done in a fork of it."""

from __future__ import annotations

import os
from collections.abc import Callable


def forked(work: Callable[[], int]) -> int:
    """What a forked process returned; 99 if it raised."""
    pid = os.fork()
    if pid == 0:
        status = 99
        try:
            status = work()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
