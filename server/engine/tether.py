"""Runs a command so that neither it nor anything it started outlives the one who asked for it.

    python -I -S tether.py GRACE_S COMMAND [ARGUMENT...]

The asker holds the other end of this process's stdin. When that closes, because the asker wants an end or because it
was killed, the command gets SIGTERM and, GRACE_S seconds later, it and all its descendants get SIGKILL. Descendants
cannot escape by losing their parents or starting sessions of their own: on Linux they are re-parented to this process.
When the command ends, what it left behind gets SIGTERM and a few seconds, then SIGKILL: Python's resource tracker for
one uses that time to free shared memory that nobody else would ever free. The exit status is the command's, as in a
shell.

A script of the standard library only, started without site-packages, so that it costs 20 ms and some 8 MB.
"""

import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Iterator

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
SETTLE_S = 3.0
"""For what the command left behind to end by itself."""
LOOK_S = 2.0
"""How often to look whether the asker is still our parent, should a stray copy of its pipe end keep stdin open."""


def main() -> int:
    grace_s, command = float(sys.argv[1]), sys.argv[2:]
    asker = os.getppid()
    wake, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(waker)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # not SIG_IGN, which the command would inherit
    prctl(PR_SET_CHILD_SUBREAPER, 1)

    child = start(command)
    status: int | None = None
    while status is None and os.getppid() == asker:
        readable, _, _ = select.select([sys.stdin, wake], [], [], LOOK_S)
        drain(wake)
        status = reap(child)
        if sys.stdin in readable and not os.read(0, 4096):
            break
    if status is None:
        os.kill(child, signal.SIGTERM)
        end = time.monotonic() + grace_s
        while status is None and (left := end - time.monotonic()) > 0:
            select.select([wake], [], [], left)
            drain(wake)
            status = reap(child)
    if status is not None:
        wind_down(wake, min(grace_s, SETTLE_S))
    killed = kill_all(child)
    code = os.waitstatus_to_exitcode(status if status is not None else killed)
    return code if code >= 0 else 128 - code


def start(command: list[str]) -> int:
    """Fork and exec; the process id. The command dies at once if this process is killed."""
    me = os.getpid()
    child = os.fork()
    if child == 0:
        try:
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            if os.getppid() == me:
                os.execvp(command[0], command)
        except OSError as error:
            os.write(2, f"cannot start {command[0]}: {error.strerror}\n".encode())
        os._exit(127)
    return child


def reap(child: int) -> int | None:
    """Collect everything that has ended; the wait status of `child` if it is among them."""
    status = None
    while True:
        try:
            pid, wait_status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status
        if pid == 0:
            return status
        if pid == child:
            status = wait_status


def wind_down(wake: int, within_s: float) -> None:
    """SIGTERM all children and wait until none is left or the time is over."""
    end = time.monotonic() + within_s
    for pid in children():
        os.kill(pid, signal.SIGTERM)
    while any(children()) and (left := end - time.monotonic()) > 0:
        select.select([wake], [], [], left)
        drain(wake)
        reap(0)


def kill_all(child: int) -> int:
    """SIGKILL all children until none is left; orphans of those killed become children. `child`'s status or 0."""
    status = 0
    while pids := list(children()):
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            _, wait_status = os.waitpid(pid, 0)
            if pid == child:
                status = wait_status
    return status


def children() -> Iterator[int]:
    """Process ids whose parent is this process, zombies included."""
    me = os.getpid()
    for name in os.listdir("/proc"):  # noqa: PTH208 (pathlib would double the start time)
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
                stat = file.read()
        except OSError:
            continue
        if int(stat[stat.rindex(b")") + 2 :].split()[1]) == me:
            yield int(name)


def drain(pipe: int) -> None:
    try:
        os.read(pipe, 4096)
    except BlockingIOError:
        return


def prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, *map(ctypes.c_ulong, (value, 0, 0, 0)))


if __name__ == "__main__":
    sys.exit(main())
