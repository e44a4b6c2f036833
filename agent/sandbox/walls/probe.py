"""Attempts to leave a jail, made from inside before any program is let in."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.sandbox.walls import kernel
from agent.sandbox.walls.jail import Jail


@dataclass(frozen=True, slots=True)
class Bait:
    """What the probes try to reach; each of it exists outside while they run."""

    port: int
    file: str
    pid: int
    variable: str
    version: str
    prefix: str


def attempt(bait: Bait, walls: Jail) -> list[str]:
    """From inside a process that `walls` confine: the names of those that do not hold."""
    attempts: dict[str, Callable[[], object]] = {
        "network": lambda: _connect(bait.port),
        "files outside": lambda: Path(bait.file).read_bytes(),
        "/etc/passwd": lambda: Path("/etc/passwd").read_bytes(),
        "environment": lambda: os.environ[bait.variable],
        "signals": lambda: _signal(bait.pid),
        "other processes": _see_processes if walls.namespaces else lambda: list(Path("/proc").iterdir()),
        "write to the system": lambda: (Path(os.__file__).parent / "burnish_probe").touch(),
        "write to the root": lambda: Path("/burnish_probe").touch(),
        "new namespaces": lambda: kernel.unshare(kernel.CLONE_NEWUSER),
        "set uid": lambda: os.setuid(0),
        "mount": lambda: kernel.mount("tmpfs", "/tmp", "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV),
        "clone": lambda: _clone(walls.namespaces or kernel.CLONE_NEWUSER),
    }
    if not walls.starts_processes:
        attempts |= {
            "fork": _fork,
            "exec": lambda: os.execv(sys.executable, [sys.executable, "-c", "pass"]),
            "start a process": lambda: os.posix_spawn(sys.executable, [sys.executable, "-c", "pass"], {}),
        }
    if walls.namespaces == 0:
        attempts["attributes of files"] = lambda: Path(bait.file).chmod(0o644)
        attempts["files beside its own"] = lambda: (Path.cwd().parent / "burnish_probe").touch()
    broken = [name for name, attempt in attempts.items() if _succeeds(attempt)]
    if sys.version != bait.version or sys.base_prefix != bait.prefix:
        broken.append("interpreter")
    with contextlib.suppress(OSError):
        Path("probe").write_bytes(b"x")
        Path("probe").unlink()
        return broken
    return [*broken, "private folder"]


def _succeeds(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except (OSError, KeyError):
        return False
    return True


def _connect(port: int) -> None:
    with socket.socket() as client:
        client.settimeout(1)
        client.connect(("127.0.0.1", port))


def _signal(pid: int) -> None:
    if pid == os.getpid():
        raise OSError(errno.ESRCH, "the number of the server names this process here")
    os.kill(pid, 0)


def _see_processes() -> None:
    if os.getpid() == 1 and os.getppid() == 0 and not Path("/proc/1").exists():
        raise OSError(errno.ESRCH, "alone")


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _clone(namespaces: int) -> None:
    if kernel.clone(namespaces | kernel.CLONE_PARENT) == 0:
        os._exit(0)
