"""Who the jailed processes are, and the namespaces they share. Standard library only: runs as the worker."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from agent.sandbox.walls import kernel, landlock, seccomp

_INNER_ID = 61001
_CHANGE_USER = 1 << 0 | 1 << 6 | 1 << 7
"""CAP_CHOWN, CAP_SETGID and CAP_SETUID."""
_LARGE_RANGE = 1 << 31
_NAMESPACES = (
    kernel.CLONE_NEWNS
    | kernel.CLONE_NEWPID
    | kernel.CLONE_NEWNET
    | kernel.CLONE_NEWIPC
    | kernel.CLONE_NEWUTS
    | kernel.CLONE_NEWCGROUP
)


class Impossible(Exception):
    """This machine refuses a wall; `missing` says what to enable."""

    def __init__(self, missing: str) -> None:
        super().__init__(missing)
        self.missing = missing


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the jailed processes are."""

    mode: str
    """`root`: real uids are changed. `user`: all have one uid, in tier A inside a user namespace."""
    candidate: int
    judge: int


def unshare_base() -> Identity:
    """Put this process, and its children to come, into the base namespaces of tier A. Raises Impossible."""
    _check_machine()
    if os.geteuid() == 0:
        with contextlib.suppress(OSError):
            kernel.unshare(_NAMESPACES)
            return _root_identity()
    uid, gid = os.geteuid(), os.getegid()
    try:
        kernel.unshare(kernel.CLONE_NEWUSER | _NAMESPACES)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{_INNER_ID} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{_INNER_ID} {gid} 1")
    except OSError as error:
        raise Impossible(
            f"namespaces ({error.strerror}): run as root with CAP_SYS_ADMIN, or allow unprivileged user namespaces "
            "(sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, "
            "kernel.apparmor_restrict_unprivileged_userns=0; in Docker: --security-opt seccomp=unconfined)",
        ) from None
    return Identity("user", _INNER_ID, _INNER_ID)


def without_namespaces() -> Identity:
    """Who jailed processes are in tier B. Raises Impossible."""
    _check_machine()
    version = kernel.landlock_version()
    if version < landlock.SCOPED_SIGNALS:
        raise Impossible(
            f"Landlock: version {landlock.SCOPED_SIGNALS} is needed, this kernel has {version or 'none'} "
            "(Linux 6.12, with `landlock` in its lsm= list)",
        )
    uid = os.getuid()
    return _root_identity() if os.geteuid() == 0 else Identity("user", uid, uid)


def _check_machine() -> None:
    if not seccomp.supported():
        raise Impossible(f"seccomp: the system calls of {os.uname().machine} are not known to this version")


def _root_identity() -> Identity:
    """Two uids that nobody else on this machine uses while this process lives. Raises Impossible."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    if int(status["CapEff"], 16) & _CHANGE_USER != _CHANGE_USER:
        raise Impossible("capabilities: root needs CAP_SETUID, CAP_SETGID and CAP_CHOWN; or run as an ordinary user")
    ranges = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
    largest = max((int(first) + int(count) - 1 for first, _, count in ranges), default=0)
    base = _LARGE_RANGE // 2 if largest >= _LARGE_RANGE else max(largest - 20_000, 1000)
    span = 1 << 29 if largest >= _LARGE_RANGE else max((largest - base) // 2, 1)
    candidate = base + 2 * (os.getpid() % span)
    return Identity("root", candidate, candidate + 1)
