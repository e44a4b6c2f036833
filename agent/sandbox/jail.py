"""The walls around submitted programs: a base jail built once per worker, and what each process adds on top.

Base jail: own user (where not root), mount, pid, network, ipc, uts and cgroup namespaces; a read-only tree that holds
the interpreter, its libraries and five device nodes, nothing else, and no /proc. Each process then gets its own pid,
mount and ipc namespaces, a private /tmp, resource limits, another uid (root mode), no capabilities and the system call
filter. Standard library only: this module runs inside the jail.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.sandbox import kernel, seccomp

_MOUNT_POINT = "/tmp"
_SYSTEM = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo")
_DEVICES = ("null", "zero", "full", "random", "urandom")
_INNER_ID = 61001
_LARGE_RANGE = 1 << 31
_TMP_MEGABYTES = 32
_TMP_FILES = 2000
_FILE_BYTES = 16 * 1024 * 1024
_OPEN_FILES = 64
_TASKS = 64
_STACK_BYTES = 64 * 1024 * 1024

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
    """`root`: real uids are changed. `user`: one uid inside a user namespace."""
    candidate: int
    judge: int


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one jailed process may use."""

    memory_bytes: int
    """Address space on top of what the parent already had."""
    cpu_seconds: int
    """Safety net; the parent watches the clock more closely."""
    processes: bool


def unshare_base() -> Identity:
    """Put this process, and its children to come, into the base namespaces. Raises Impossible."""
    if not seccomp.supported():
        raise Impossible(f"seccomp: the system calls of {os.uname().machine} are not known to this version")
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


def _root_identity() -> Identity:
    """Two uids that nobody else on this machine uses while this process lives."""
    ranges = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
    largest = max((int(first) + int(count) - 1 for first, _, count in ranges), default=0)
    base = _LARGE_RANGE // 2 if largest >= _LARGE_RANGE else max(largest - 20_000, 1000)
    span = 1 << 29 if largest >= _LARGE_RANGE else max((largest - base) // 2, 1)
    candidate = base + 2 * (os.getpid() % span)
    return Identity("root", candidate, candidate + 1)


def build_tree(interpreter: list[str], packages: list[str]) -> list[str]:
    """Replace this process's file system by a read-only tree with the system libraries, `interpreter` and `packages`.

    `interpreter` paths keep their place, so that it finds the libraries it was linked with; where the folders of
    installed packages stand now is returned. Raises Impossible.
    """
    hidden = [path for path in interpreter if Path(path).is_relative_to(_MOUNT_POINT)]
    if hidden:
        raise Impossible(f"interpreter: {hidden[0]} lies in {_MOUNT_POINT}, which every program gets for itself")
    try:
        kernel.mount("none", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
        sources = [Path(path) for path in dict.fromkeys((*_SYSTEM, *interpreter)) if Path(path).exists()]
        places = [(str(path), str(path)) for path in _outermost(sources)]
        shown = [f"/packages/{number}" for number in range(len(packages))]
        places += zip(packages, shown, strict=True)
        opened = [(place, os.open(path, os.O_PATH | os.O_CLOEXEC)) for path, place in places]
        devices = [(f"/dev/{name}", os.open(f"/dev/{name}", os.O_PATH | os.O_CLOEXEC)) for name in _DEVICES]
        with contextlib.ExitStack() as stack:
            for _, fd in (*opened, *devices):
                stack.callback(os.close, fd)
            kernel.mount("tmpfs", _MOUNT_POINT, "tmpfs", kernel.MS_NOSUID, "mode=0755,size=1m")
            for place, fd in opened:
                _bind(fd, _MOUNT_POINT + place, kernel.ATTR_READ_ONLY | kernel.ATTR_NOSUID | kernel.ATTR_NODEV)
            for name, fd in devices:
                _bind(fd, _MOUNT_POINT + name, kernel.ATTR_NOSUID)
        (Path(_MOUNT_POINT) / "dev/shm").symlink_to("/tmp")
        (Path(_MOUNT_POINT) / "tmp").mkdir(mode=0o755)
        kernel.pivot_root(_MOUNT_POINT)
        kernel.restrict_mount("/", kernel.ATTR_READ_ONLY | kernel.ATTR_NOSUID, recursive=False)
    except OSError as error:
        raise Impossible(f"mounts ({error}): allow mount and pivot_root in the namespace") from None
    return shown


def _outermost(paths: list[Path]) -> list[Path]:
    """`paths` without those that lie inside another."""
    return [path for path in paths if not any(other != path and path.is_relative_to(other) for other in paths)]


def _bind(source: int, target: str, attributes: int) -> None:
    place = Path(target)
    missing = [parent for parent in place.parents if not parent.exists()]
    for parent in reversed(missing):
        parent.mkdir(mode=0o755)
        parent.chmod(0o755)
    if stat.S_ISDIR(os.fstat(source).st_mode):
        place.mkdir(mode=0o755)
    else:
        place.touch()
    kernel.mount(f"/proc/self/fd/{source}", target, "", kernel.MS_BIND | kernel.MS_REC)
    kernel.restrict_mount(target, attributes, recursive=True)


def confine(identity: Identity, uid: int, allowance: Allowance, baseline_bytes: int) -> None:
    """Take everything from this process that a submitted program must not have. Cannot be undone. Raises OSError."""
    os.setsid()
    kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC)
    kernel.mount(
        "tmpfs", "/tmp", "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV,
        f"mode=1777,size={_TMP_MEGABYTES}m,nr_inodes={_TMP_FILES}",
    )  # fmt: skip
    os.chdir("/tmp")
    for kind, soft in (
        (resource.RLIMIT_CPU, allowance.cpu_seconds),
        (resource.RLIMIT_FSIZE, _FILE_BYTES),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_NPROC, _TASKS),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_SIGPENDING, 256),
        (resource.RLIMIT_AS, baseline_bytes + allowance.memory_bytes),
    ):
        _limit(kind, soft)
    _limit(resource.RLIMIT_STACK, _STACK_BYTES)
    os.umask(0o077)
    if identity.mode == "root":
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    kernel.drop_capabilities()
    kernel.die_with_parent(signal.SIGKILL)
    kernel.forbid_new_privileges()
    kernel.filter_system_calls(seccomp.program(processes=allowance.processes))


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(kind, (value, value))


@dataclass(frozen=True, slots=True)
class Bait:
    """What the probes try to reach; each of it exists outside while they run."""

    port: int
    file: str
    pid: int
    variable: str
    version: str
    prefix: str


def probe(bait: Bait) -> list[str]:
    """From inside a confined process: the names of the walls that do not hold."""
    attempts: dict[str, Callable[[], object]] = {
        "network": lambda: _connect(bait.port),
        "files outside": lambda: Path(bait.file).read_bytes(),
        "/etc/passwd": lambda: Path("/etc/passwd").read_bytes(),
        "environment": lambda: os.environ[bait.variable],
        "signals": lambda: _signal(bait.pid),
        "other processes": _see_processes,
        "fork": _fork,
        "exec": lambda: os.execv(sys.executable, [sys.executable, "-c", "pass"]),
        "start a process": lambda: subprocess.run([sys.executable, "-c", "pass"], check=True, timeout=5),
        "write to the system": lambda: (Path(os.__file__).parent / "burnish_probe").touch(),
        "write to the root": lambda: Path("/burnish_probe").touch(),
        "new namespaces": lambda: kernel.unshare(kernel.CLONE_NEWUSER),
        "set uid": lambda: os.setuid(0),
        "mount": lambda: kernel.mount("tmpfs", "/tmp", "tmpfs", 0),
    }
    broken = [name for name, attempt in attempts.items() if _succeeds(attempt)]
    if sys.version != bait.version or sys.base_prefix != bait.prefix:
        broken.append("interpreter")
    with contextlib.suppress(OSError), tempfile.TemporaryFile() as scratch:
        scratch.write(b"x")
        return broken
    return [*broken, "private /tmp"]


def _succeeds(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except (OSError, KeyError, subprocess.SubprocessError):
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
