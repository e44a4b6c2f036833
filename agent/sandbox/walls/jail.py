"""The walls around submitted programs: what a worker's zygote builds once, and what each process adds to it.

Tier A: own user (where not root), mount, pid, network, ipc, uts and cgroup namespaces; a read-only tree that holds the
interpreter, its libraries and five device nodes, nothing else, and no /proc. Each process gets its own pid, mount and
ipc namespaces and a private /tmp. Tier B, where no namespaces can be had: Landlock takes files, signals and sockets
away, and each process gets a private folder. In both tiers: resource limits, another uid (as root), no capabilities
and the system call filter. Standard library only: this module runs inside the jail.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.sandbox.walls import kernel, landlock, scratch, seccomp

_MOUNT_POINT = "/tmp"
_SYSTEM = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo")
_DEVICES = ("null", "zero", "full", "random", "urandom")
_INNER_ID = 61001
_CHANGE_USER = 1 << 0 | 1 << 6 | 1 << 7
"""CAP_CHOWN, CAP_SETGID and CAP_SETUID."""
_LARGE_RANGE = 1 << 31
_TMP_MEGABYTES = 32
_TMP_FILES = 2000
_FILE_BYTES = 16 * 1024 * 1024
_OPEN_FILES = 64
_TASKS = 64
_TMPFS = f"mode=1777,size={_TMP_MEGABYTES}m,nr_inodes={_TMP_FILES}"
_ABOVE_MOUNTS = kernel.MS_NOSUID | kernel.MS_NODEV
_STACK_BYTES = 64 * 1024 * 1024
_THREAD_STACK_BYTES = 8 * 1024 * 1024
"""Of each thread, all of which count where data is counted."""

_NAMESPACES = (
    kernel.CLONE_NEWNS
    | kernel.CLONE_NEWPID
    | kernel.CLONE_NEWNET
    | kernel.CLONE_NEWIPC
    | kernel.CLONE_NEWUTS
    | kernel.CLONE_NEWCGROUP
)


_OWN_NAMESPACES = kernel.CLONE_NEWPID | kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC
"""What each process has for itself."""

_NAMESPACE_FEATURES = ("namespaces: mount pid network ipc uts cgroup", "read-only system, private /tmp, no /proc")
_LANDLOCK_FEATURES = ("Landlock: files, signals and sockets", "private folder")
_COMMON_FEATURES = ("seccomp filter", "no capabilities, no new privileges", "resource limits")


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


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one jailed process may use."""

    memory_bytes: int
    """On top of what the zygote has."""
    cpu_seconds: int
    """Safety net; the zygote watches the clock more closely."""
    counts_data: bool = False
    """Memory is what the process may write to, instead of its address space, which some runtimes reserve freely."""
    forks: bool = True
    """In a jail whose programs may start processes: this one may; else it may only become another program."""


@dataclass(frozen=True, slots=True)
class Materials:
    """What jails are built of: paths outside."""

    interpreter: Sequence[str]
    """Keep their place inside, so that the interpreter finds the libraries it was linked with."""
    packages: Sequence[str]
    """Folders of installed packages."""
    scratch: str
    """Folder for the private folders of tier B."""
    starts_processes: bool
    """Programs may fork and execute."""
    tools: Sequence[str] = ()
    """Compilers and interpreters that programs may execute, with what these read; they keep their place inside."""


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


def identity_without_namespaces() -> Identity:
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


class Jail:
    """Forks processes and confines them; one of the two classes below, by tier."""

    namespaces: int
    """Those that each process gets for itself."""
    name: str
    """The tier, e.g. `A-root`."""
    features: tuple[str, ...]
    packages: list[str]
    """Where the folders of installed packages stand inside."""

    def __init__(self, identity: Identity, *, starts_processes: bool, runs_tools: bool) -> None:
        self.identity = identity
        self.starts_processes = starts_processes
        self.runs_tools = runs_tools

    def fork(self) -> int:
        """Fork a process to be confined, as a child of this one's parent: its number, 0 in itself. Raises OSError."""
        return kernel.clone(self.namespaces | kernel.CLONE_PARENT)

    def settle(self) -> None:
        """Take from the zygote, and so from every process to come, what neither needs."""
        kernel.empty_bounding_set()
        os.umask(0o077)
        for kind, value in (
            (resource.RLIMIT_FSIZE, _FILE_BYTES),
            (resource.RLIMIT_NOFILE, _OPEN_FILES),
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_MEMLOCK, 0),
            (resource.RLIMIT_MSGQUEUE, 0),
            (resource.RLIMIT_SIGPENDING, 256),
            (resource.RLIMIT_STACK, _STACK_BYTES),
            (resource.RLIMIT_NPROC, _TASKS),
        ):
            _limit(kind, value)
        if self.identity.mode == "root":
            os.setgroups([])
            os.setresgid(self.identity.judge, self.identity.judge, self.identity.judge)
        kernel.forbid_new_privileges()

    def scratch(self, uid: int) -> str:
        """A private, writable folder for a process that is about to be forked, as that process sees it."""
        raise NotImplementedError

    def clear(self, folder: str) -> None:
        """Remove what a process that has ended left behind."""

    def confine(self, uid: int, allowance: Allowance, baseline_bytes: int, folder: str) -> None:
        """Take everything from this process that a submitted program must not have. Cannot be undone. Raises
        OSError."""
        raise NotImplementedError

    def _limit_resources(self, allowance: Allowance, baseline_bytes: int) -> None:
        _limit(resource.RLIMIT_CPU, allowance.cpu_seconds)
        if allowance.counts_data:
            _limit(resource.RLIMIT_STACK, _THREAD_STACK_BYTES)
            _limit(resource.RLIMIT_DATA, allowance.memory_bytes)
        else:
            _limit(resource.RLIMIT_AS, baseline_bytes + allowance.memory_bytes)

    def _change_user(self, uid: int) -> None:
        if self.identity.mode == "root":
            os.setresuid(uid, uid, uid)
        kernel.drop_capabilities()


class NamespaceJail(Jail):
    """Tier A."""

    namespaces = _OWN_NAMESPACES

    def __init__(self, identity: Identity, materials: Materials) -> None:
        """Replace this process's file system by the read-only tree. Raises Impossible."""
        super().__init__(identity, starts_processes=materials.starts_processes, runs_tools=bool(materials.tools))
        self.packages = _build_tree([*materials.interpreter, *materials.tools], materials.packages)
        self._ruleset: landlock.Ruleset | None = None
        if landlock.available():
            root, devices = (os.open(path, os.O_PATH | os.O_CLOEXEC) for path in ("/", "/dev"))
            self._ruleset = landlock.Ruleset([root], [devices])
        self.name = f"A-{identity.mode}"
        own_uid = ("another uid",) if identity.mode == "root" else ()
        landlocked = ("Landlock",) if self._ruleset else ()
        self.features = (*_NAMESPACE_FEATURES, *landlocked, *own_uid, *_COMMON_FEATURES)

    def settle(self) -> None:
        super().settle()
        if not self.starts_processes:
            kernel.filter_system_calls(seccomp.program(seccomp.Profile.ZYGOTE, _OWN_NAMESPACES, _ABOVE_MOUNTS))

    def scratch(self, uid: int) -> str:
        return "/tmp"

    def confine(self, uid: int, allowance: Allowance, baseline_bytes: int, folder: str) -> None:
        os.setsid()
        kernel.mount("tmpfs", folder, "tmpfs", _ABOVE_MOUNTS, _TMPFS)
        os.chdir(folder)
        self._limit_resources(allowance, baseline_bytes)
        self._change_user(uid)
        if self._ruleset is not None:
            self._ruleset.enter(folder)
        if self.starts_processes:
            kernel.filter_system_calls(seccomp.program(_profile(allowance)))


class LandlockJail(Jail):
    """Tier B."""

    namespaces = 0

    def __init__(self, identity: Identity, materials: Materials) -> None:
        """Raises Impossible."""
        super().__init__(identity, starts_processes=False, runs_tools=False)
        if materials.starts_processes:
            raise Impossible("namespaces: programs that start processes are only run in tier A")
        hidden = [path for path in materials.interpreter if identity.mode == "root" and not _open_to_all(path)]
        if hidden:
            raise Impossible(f"interpreter: other users cannot read {hidden[0]}; use a Python that all can read")
        paths = [path for path in (*_SYSTEM, *materials.interpreter, *materials.packages) if Path(path).exists()]
        readable = [os.open(path, os.O_PATH | os.O_CLOEXEC) for path in dict.fromkeys(paths)]
        devices = [os.open(f"/dev/{name}", os.O_PATH | os.O_CLOEXEC) for name in _DEVICES]
        self._ruleset = landlock.Ruleset(readable, devices)
        self.packages = list(materials.packages)
        self._scratch = materials.scratch
        self._worker = os.getpid()
        self.name = "B"
        own_uid = ("another uid",) if identity.mode == "root" else ()
        self.features = (*_LANDLOCK_FEATURES, *own_uid, *_COMMON_FEATURES)

    def scratch(self, uid: int) -> str:
        return scratch.make(self._scratch, (uid, self.identity.judge) if self.identity.mode == "root" else None)

    def clear(self, folder: str) -> None:
        scratch.clear(folder)

    def confine(self, uid: int, allowance: Allowance, baseline_bytes: int, folder: str) -> None:
        os.setsid()
        os.chdir(folder)
        os.environ["TMPDIR"] = os.environ["HOME"] = folder
        self._limit_resources(allowance, baseline_bytes)
        self._change_user(uid)
        kernel.die_with_parent(signal.SIGKILL)
        if os.getppid() != self._worker:
            raise Impossible("the worker has ended")
        self._ruleset.enter(folder)
        kernel.filter_system_calls(seccomp.program(seccomp.Profile.NO_NAMESPACES))


def _profile(allowance: Allowance) -> seccomp.Profile:
    if allowance.forks:
        return seccomp.Profile.STARTS_PROCESSES
    return seccomp.Profile.COUNTS_DATA if allowance.counts_data else seccomp.Profile.EXECUTES


def _build_tree(programs: Sequence[str], packages: Sequence[str]) -> list[str]:
    """Replace this process's file system; where the folders of installed packages stand now is returned."""
    hidden = [path for path in programs if Path(path).is_relative_to(_MOUNT_POINT)]
    if hidden:
        raise Impossible(f"interpreter: {hidden[0]} lies in {_MOUNT_POINT}, which every program gets for itself")
    try:
        kernel.mount("none", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
        sources = [Path(path) for path in dict.fromkeys((*_SYSTEM, *programs)) if Path(path).exists()]
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


def _open_to_all(path: str) -> bool:
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in Path(path).parents)


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


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(kind, (value, value))
