"""The walls around submitted programs: what a worker's zygote builds once, and what each process adds to it.

Tier A: own user (where not root), mount, pid, network, ipc, uts and cgroup namespaces; a read-only tree that holds the
interpreter, its libraries and five device nodes, nothing else, and no /proc. Each process gets its own pid, mount and
ipc namespaces and a private /tmp. Tier B, where no namespaces can be had: Landlock takes files, signals and sockets
away, and each process gets a private folder. In both tiers: resource limits, another uid (as root), no capabilities
and the system call filter. Standard library only: this module runs inside the jail.
"""

from __future__ import annotations

import os
import resource
import signal
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.sandbox.walls import kernel, landlock, scratch, seccomp, tree
from agent.sandbox.walls.identity import Identity, Impossible
from agent.sandbox.walls.tree import DEVICES, SYSTEM

_PRIVATE = "/tmp"
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

_OWN_NAMESPACES = kernel.CLONE_NEWPID | kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC
"""What each process has for itself."""

_NAMESPACE_FEATURES = ("namespaces: mount pid network ipc uts cgroup", "read-only system, private /tmp, no /proc")
_LANDLOCK_FEATURES = ("Landlock: files, signals and sockets", "private folder")
_COMMON_FEATURES = ("seccomp filter", "no capabilities, no new privileges", "resource limits")


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one jailed process may use."""

    memory_bytes: int
    """On top of what the zygote has."""
    cpu_seconds: int
    """Safety net; the worker watches the clock more closely."""
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


def build(tier: str, identity: Identity, materials: Materials) -> Jail:
    """The jail of tier `A` or `B` around this process. Raises Impossible."""
    return (LandlockJail if tier == "B" else NamespaceJail)(identity, materials)


class Jail:
    """Forks processes and confines them; one of the two classes below, by tier."""

    namespaces: int
    """Those that each process gets for itself."""
    name: str
    """The tier, e.g. `A-root`."""
    features: tuple[str, ...]
    packages: list[str]
    """Where the folders of installed packages stand inside."""

    def __init__(self, identity: Identity, *, starts_processes: bool) -> None:
        self.identity = identity
        self.starts_processes = starts_processes

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
            (resource.RLIMIT_MSGQUEUE, 0),
            (resource.RLIMIT_SIGPENDING, 256),
            (resource.RLIMIT_STACK, _STACK_BYTES),
        ):
            _limit(kind, value)
        if self.identity.mode == "root":
            os.setgroups([])
            os.setresgid(self.identity.judge, self.identity.judge, self.identity.judge)
        kernel.forbid_new_privileges()

    def seal(self) -> None:
        """Forbid the zygote, and so every process to come, the rest of what neither needs."""
        _limit(resource.RLIMIT_MEMLOCK, 0)

    def scratch(self, uid: int) -> str:
        """A private, writable folder for a process that is about to be forked; an empty name where it makes itself
        one. Raises OSError."""
        raise NotImplementedError

    def confine(self, uid: int, allowance: Allowance, baseline_bytes: int, folder: str) -> None:
        """Take everything from this process that a submitted program must not have. Cannot be undone. Raises
        OSError."""
        raise NotImplementedError

    def _limit_resources(self, allowance: Allowance, baseline_bytes: int) -> None:
        _limit(resource.RLIMIT_CPU, allowance.cpu_seconds)
        _limit(resource.RLIMIT_NPROC, _TASKS)
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
        super().__init__(identity, starts_processes=materials.starts_processes)
        self.packages = tree.build([*materials.interpreter, *materials.tools], materials.packages)
        self._ruleset: landlock.Ruleset | None = None
        if landlock.available():
            root, devices = (os.open(path, os.O_PATH | os.O_CLOEXEC) for path in ("/", "/dev"))
            self._ruleset = landlock.Ruleset([root], [devices])
        self.name = f"A-{identity.mode}"
        own_uid = ("another uid",) if identity.mode == "root" else ()
        landlocked = ("Landlock",) if self._ruleset else ()
        self.features = (*_NAMESPACE_FEATURES, *landlocked, *own_uid, *_COMMON_FEATURES)

    def seal(self) -> None:
        super().seal()
        if not self.starts_processes:
            kernel.filter_system_calls(seccomp.program(seccomp.Profile.ZYGOTE, _OWN_NAMESPACES, _ABOVE_MOUNTS))

    def scratch(self, uid: int) -> str:
        return ""

    def confine(self, uid: int, allowance: Allowance, baseline_bytes: int, folder: str) -> None:
        os.setsid()
        kernel.mount("tmpfs", _PRIVATE, "tmpfs", _ABOVE_MOUNTS, _TMPFS)
        os.chdir(_PRIVATE)
        self._limit_resources(allowance, baseline_bytes)
        self._change_user(uid)
        if self._ruleset is not None:
            self._ruleset.enter(_PRIVATE)
        if self.starts_processes:
            kernel.filter_system_calls(seccomp.program(_profile(allowance)))


class LandlockJail(Jail):
    """Tier B."""

    namespaces = 0

    def __init__(self, identity: Identity, materials: Materials) -> None:
        """Raises Impossible."""
        super().__init__(identity, starts_processes=False)
        if materials.starts_processes:
            raise Impossible("namespaces: programs that start processes are only run in tier A")
        hidden = [path for path in materials.interpreter if identity.mode == "root" and not _open_to_all(path)]
        if hidden:
            raise Impossible(f"interpreter: other users cannot read {hidden[0]}; use a Python that all can read")
        paths = [path for path in (*SYSTEM, *materials.interpreter, *materials.packages) if Path(path).exists()]
        readable = [os.open(path, os.O_PATH | os.O_CLOEXEC) for path in dict.fromkeys(paths)]
        devices = [os.open(f"/dev/{name}", os.O_PATH | os.O_CLOEXEC) for name in DEVICES]
        self._ruleset = landlock.Ruleset(readable, devices)
        self.packages = list(materials.packages)
        self._scratch = materials.scratch
        self._worker = os.getppid()
        self.name = "B"
        own_uid = ("another uid",) if identity.mode == "root" else ()
        self.features = (*_LANDLOCK_FEATURES, *own_uid, *_COMMON_FEATURES)

    def scratch(self, uid: int) -> str:
        return scratch.make(self._scratch, (uid, self.identity.judge) if self.identity.mode == "root" else None)

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


def _open_to_all(path: str) -> bool:
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in Path(path).parents)


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(kind, (value, value))
