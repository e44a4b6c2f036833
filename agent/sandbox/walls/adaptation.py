"""What a template learns before it forks: it plays whole runs within itself.

The interpreter adapts code while that first runs, and looks attributes up once. What a template has adapted and found,
no process forked from it works out or writes down again. Standard library only.
"""

from __future__ import annotations

import contextlib
import faulthandler
import itertools
import linecache
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from agent.sandbox.judge import judge
from agent.sandbox.program import candidate
from agent.sandbox.walls import rehearsal

_RUNS = 10
_MOST_OPEN = 256
"""Descriptors of a template."""


def to_candidates() -> None:
    """Adapt this process, which forks programs."""
    _adapt(_candidate)


def to_judges() -> None:
    """Adapt this process, which forks judges."""
    _adapt(_judge)


def _adapt(play: Callable[[], None]) -> None:
    """Play some runs; what they change beside is put back."""
    modules, argv, limit = dict(sys.modules), sys.argv, sys.getrecursionlimit()
    finders = list(sys.meta_path)
    sys._clear_type_cache()
    for _ in range(_RUNS):
        play()
    signal.setitimer(signal.ITIMER_REAL, 0)
    faulthandler.unregister(signal.SIGUSR2)
    linecache.clearcache()
    for name in sys.modules.keys() - modules.keys():
        del sys.modules[name]
    sys.modules.update(modules)
    sys.argv = argv
    sys.setrecursionlimit(limit)
    sys.meta_path[:] = finders


def _candidate() -> None:
    rehearsal.of_judged_candidate(_here)
    rehearsal.of_candidate(_here)


def _judge() -> None:
    rehearsal.of_judge(_here, _beside)
    os.wait()


def _here(order: dict[str, Any], fds: Sequence[int]) -> None:
    """Play a role in this process."""
    if order["role"] == "candidate":
        candidate.run(*fds[3:])
        return
    stdin = os.dup(0)
    os.dup2(fds[0], 0)
    judge.run(*fds[3:])
    os.dup2(stdin, 0)
    os.close(stdin)


def _beside(order: dict[str, Any], fds: Sequence[int]) -> None:
    """Play a role in a child, which keeps no other end of what it is given."""
    if os.fork() == 0:
        with contextlib.suppress(BaseException):
            for first, end in itertools.pairwise([2, *sorted(set(fds)), _MOST_OPEN]):
                os.closerange(first + 1, end)
            _here(order, fds)
        os._exit(0)
