"""The kernel calls that the jail needs and Python does not offer. Every function raises OSError as `os` does."""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import struct
from collections.abc import Callable, Sequence
from typing import Any

CLONE_PARENT = 0x00008000
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_NOSUID = 2
MS_NODEV = 4
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18

PROT_READ = 1
PROT_WRITE = 2
PROT_EXEC = 4

ATTR_READ_ONLY = 1
ATTR_NOSUID = 2
ATTR_NODEV = 4

PR_SET_PDEATHSIG = 1

_MNT_DETACH = 2
_AT_RECURSIVE = 0x8000
_PR_SET_SECCOMP = 22
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_MODE_FILTER = 2
_CAPABILITY_VERSION_3 = 0x20080522
_MOUNT_SETATTR = 442
_LANDLOCK_VERSION = 1
_LANDLOCK_PATH_BENEATH = 1
_MADV_COLLAPSE = 25
_MAP_PRIVATE, _MAP_FIXED, _MAP_ANONYMOUS = 0x02, 0x10, 0x20
_MREMAP_MAYMOVE, _MREMAP_FIXED = 1, 2
_IO_URING_SETUP, _IO_URING_REGISTER, _REGISTER_BUFFERS = 425, 427, 0
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_CLONE_NUMBER = ctypes.c_long({"x86_64": 56, "aarch64": 220}.get(os.uname().machine, -1))

_libc = ctypes.CDLL(None, use_errno=True)
_holding_the_lock = ctypes.PyDLL(None, use_errno=True)


def _call(number: int, *kinds: Any) -> Callable[..., int]:
    """A system call by number. What every jailed process calls is declared once: converting arguments anew would
    touch more memory, and each page of it is copied after a fork."""
    call = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_long, *kinds, use_errno=True)(("syscall", _libc))
    return functools.partial(call, number)


_landlock_create = _call(444, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint)
_landlock_add = _call(445, ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
_landlock_restrict = _call(446, ctypes.c_int, ctypes.c_uint)
_libc.mremap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p)
_libc.mremap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (
    ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long,
)  # fmt: skip
_libc.mmap.restype = ctypes.c_void_p
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_libc.capset.argtypes = (ctypes.c_char_p, ctypes.c_char_p)


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def unshare(flags: int) -> None:
    """Give this process new namespaces of the kinds in `flags`."""
    _check(_libc.unshare(ctypes.c_int(flags)))


def clone(flags: int) -> int:
    """Fork with `flags` (namespaces, `CLONE_PARENT`); the child's number, 0 in the child.

    Python's and libc's after-fork hooks are left out: they are for processes with threads, whose locks another thread
    may hold. Only for a process without threads. They would touch some 170 pages that the fork had shared.
    """
    pid: int = _holding_the_lock.syscall(_CLONE_NUMBER, ctypes.c_ulong(flags | signal.SIGCHLD), None, None, None, None)
    if pid < 0:
        _check(pid)
    return pid


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """mount(2)."""
    _check(_libc.mount(source.encode(), target.encode(), kind.encode(), flags, data.encode() or None))


def restrict_mount(path: str, attributes: int, *, recursive: bool) -> None:
    """Add `attributes` (read-only, nosuid, nodev) to the mount at `path`, with `recursive` to those below it."""
    request = struct.pack("QQQQ", attributes, 0, 0, 0)
    _check(
        _libc.syscall(
            ctypes.c_long(_MOUNT_SETATTR),
            ctypes.c_int(-100),
            path.encode(),
            ctypes.c_uint(_AT_RECURSIVE if recursive else 0),
            request,
            ctypes.c_size_t(len(request)),
        ),
    )


def pivot_root(new_root: str) -> None:
    """Make `new_root` (a mount point) the root of this mount namespace and detach the old one."""
    os.chdir(new_root)
    _check(_libc.syscall(ctypes.c_long(_PIVOT_ROOT[os.uname().machine]), b".", b"."))
    _check(_libc.umount2(b".", ctypes.c_int(_MNT_DETACH)))
    os.chdir("/")


def die_with_parent(signal: int) -> None:
    """Deliver `signal` to this process when its parent ends. A change of uid clears this."""
    _check(_libc.prctl(ctypes.c_int(PR_SET_PDEATHSIG), ctypes.c_ulong(signal), 0, 0, 0))


def forbid_new_privileges() -> None:
    """No later exec can gain privileges; needed before `filter_system_calls`."""
    _check(_libc.prctl(ctypes.c_int(_PR_SET_NO_NEW_PRIVS), ctypes.c_ulong(1), 0, 0, 0))


def empty_bounding_set() -> None:
    """Remove every capability from the bounding set; those in force stay until they are dropped."""
    for capability in range(64):
        if _libc.prctl(ctypes.c_int(_PR_CAPBSET_DROP), ctypes.c_ulong(capability), 0, 0, 0) != 0:
            return


def drop_capabilities() -> None:
    """Empty the effective, permitted and inheritable sets."""
    _check(_libc.capset(_CAPABILITY_HEADER, _NO_CAPABILITIES))


_CAPABILITY_HEADER = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
_NO_CAPABILITIES = bytes(24)


def landlock_version() -> int:
    """Version of the kernel's Landlock interface; 0 where it has none or it is switched off."""
    version: int = _landlock_create(None, 0, _LANDLOCK_VERSION)
    return max(version, 0)


def landlock_ruleset(attributes: bytes) -> int:
    """Descriptor of a new ruleset; `attributes` is a `landlock_ruleset_attr`."""
    fd: int = _landlock_create(attributes, len(attributes), 0)
    if fd < 0:
        _check(fd)
    return fd


def landlock_allow(ruleset: int, rule: bytes) -> None:
    """Add a `landlock_path_beneath_attr`."""
    _check(_landlock_add(ruleset, _LANDLOCK_PATH_BENEATH, rule, 0))


def landlock_restrict(ruleset: int) -> None:
    """Put this process and its children to come under `ruleset`. Cannot be undone."""
    _check(_landlock_restrict(ruleset, 0))


def protect(address: int, size: int, rights: int) -> None:
    """mprotect(2)."""
    _check(_libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(size), rights))


def allot(address: int, size: int, rights: int) -> None:
    """Memory of its own at this address, in place of what is mapped there (mmap(2))."""
    if _libc.mmap(address, size, rights, _MAP_PRIVATE | _MAP_FIXED | _MAP_ANONYMOUS, -1, 0) != address:
        _check(-1)


def collapse(address: int, size: int) -> None:
    """Make huge pages of this memory (madvise(2), MADV_COLLAPSE)."""
    _check(_libc.madvise(ctypes.c_void_p(address), ctypes.c_size_t(size), _MADV_COLLAPSE))


def move(source: int, target: int, size: int) -> None:
    """Move memory to another address, in place of what is mapped there (mremap(2))."""
    if _libc.mremap(source, size, size, _MREMAP_MAYMOVE | _MREMAP_FIXED, target) != target:
        _check(-1)


def pin(ranges: Sequence[tuple[int, int]]) -> int:
    """Pin memory, given as (address, bytes), as io_uring pins its buffers: until the descriptor that is returned is
    closed."""
    ring: int = _libc.syscall(ctypes.c_long(_IO_URING_SETUP), ctypes.c_uint(1), ctypes.create_string_buffer(120))
    if ring < 0:
        _check(ring)
    buffers = b"".join(struct.pack("QQ", *one) for one in ranges)
    try:
        _check(
            _libc.syscall(
                ctypes.c_long(_IO_URING_REGISTER),
                ctypes.c_int(ring),
                ctypes.c_uint(_REGISTER_BUFFERS),
                buffers,
                ctypes.c_uint(len(ranges)),
            )
        )
    except OSError:
        os.close(ring)
        raise
    return ring


def filter_system_calls(program: Sequence[tuple[int, int, int, int]]) -> None:
    """Install a seccomp BPF program, given as (code, jump if true, jump if false, operand) instructions."""
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("HxxxxxxQ", len(program), ctypes.addressof(buffer))
    _check(_libc.prctl(ctypes.c_int(_PR_SET_SECCOMP), ctypes.c_ulong(_SECCOMP_MODE_FILTER), header, 0, 0))
