"""The system calls a jailed process may not make, as a BPF program for the kernel.

A denied call fails with EPERM; a foreign architecture kills the process. `clone3` answers ENOSYS because its flags lie
in memory a filter cannot read, and glibc then falls back to `clone`, whose flags can be checked.

Making a filter costs the kernel a third of a millisecond, so where it can be, one is put on the zygote and inherited.
What the zygote itself needs then has to stay open: `mount` with two flags and `clone` into exactly the namespaces of a
jailed process. Both need a capability that a jailed process does not have.
"""

from __future__ import annotations

import errno
import functools
import os
import signal
import socket
from enum import Enum

from agent.sandbox.walls import kernel

Instruction = tuple[int, int, int, int]

_LOAD = 0x20
_JUMP_EQUAL = 0x15
_JUMP_GREATER_EQUAL = 0x35
_JUMP_ANY_BIT = 0x45
_AND = 0x54
_RETURN = 0x06

_ALLOW = 0x7FFF0000
_KILL = 0x80000000
_EPERM = 0x00050000 | errno.EPERM
_ENOSYS = 0x00050000 | errno.ENOSYS

_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, (16, 24, 32, 40)
_X32 = 0x40000000
_SOCKET_TYPES = 0xF
_CLONE_THREAD = 0x00010000
_CLONE_NAMESPACES = 0x7E020000
_TERMINAL_INPUT = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX push text into a terminal."""

_NOT_COUNTED = 0x1 | 0x100
"""MAP_SHARED and MAP_GROWSDOWN."""

_AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# fmt: off
_CALLS: dict[str, dict[str, int]] = {
    "x86_64": {
        "socket": 41, "connect": 42, "accept": 43, "bind": 49, "listen": 50, "accept4": 288,
        "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312,
        "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "unshare": 272, "setns": 308,
        "add_key": 248, "request_key": 249, "keyctl": 250, "bpf": 321, "perf_event_open": 298, "userfaultfd": 323,
        "shmget": 29, "shmat": 30, "shmctl": 31, "shmdt": 67, "semget": 64, "semop": 65, "semctl": 66,
        "semtimedop": 220, "msgget": 68, "msgsnd": 69, "msgrcv": 70, "msgctl": 71,
        "mq_open": 240, "mq_unlink": 241, "mq_timedsend": 242, "mq_timedreceive": 243, "mq_notify": 244,
        "mq_getsetattr": 245, "memfd_create": 319, "name_to_handle_at": 303, "open_by_handle_at": 304,
        "quotactl": 179, "swapon": 167, "swapoff": 168, "reboot": 169, "init_module": 175, "finit_module": 313,
        "delete_module": 176, "kexec_load": 246, "kexec_file_load": 320, "personality": 135, "mknod": 133,
        "mknodat": 259, "sched_setscheduler": 144, "sched_setattr": 314, "sched_setparam": 142, "acct": 163,
        "settimeofday": 164, "clock_settime": 227, "clock_adjtime": 305, "adjtimex": 159, "sethostname": 170,
        "setdomainname": 171, "iopl": 172, "ioperm": 173, "modify_ldt": 154, "syslog": 103, "lookup_dcookie": 212,
        "vhangup": 153, "uselib": 134, "fanotify_init": 300, "fanotify_mark": 301, "inotify_init": 253,
        "inotify_add_watch": 254, "inotify_init1": 294, "move_pages": 279, "migrate_pages": 256,
        "io_setup": 206, "sync": 162, "syncfs": 306,
    },
    "aarch64": {
        "socket": 198, "connect": 203, "accept": 202, "bind": 200, "listen": 201, "accept4": 242,
        "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272,
        "mount": 40, "umount2": 39, "pivot_root": 41, "chroot": 51, "unshare": 97, "setns": 268,
        "add_key": 217, "request_key": 218, "keyctl": 219, "bpf": 280, "perf_event_open": 241, "userfaultfd": 282,
        "shmget": 194, "shmctl": 195, "shmat": 196, "shmdt": 197, "semget": 190, "semctl": 191, "semtimedop": 192,
        "semop": 193, "msgget": 186, "msgctl": 187, "msgrcv": 188, "msgsnd": 189,
        "mq_open": 180, "mq_unlink": 181, "mq_timedsend": 182, "mq_timedreceive": 183, "mq_notify": 184,
        "mq_getsetattr": 185, "memfd_create": 279, "name_to_handle_at": 264, "open_by_handle_at": 265,
        "quotactl": 60, "swapon": 224, "swapoff": 225, "reboot": 142, "init_module": 105, "finit_module": 273,
        "delete_module": 106, "kexec_load": 104, "kexec_file_load": 294, "personality": 92, "mknodat": 33,
        "sched_setscheduler": 119, "sched_setattr": 274, "sched_setparam": 118, "acct": 89, "settimeofday": 170,
        "clock_settime": 112, "clock_adjtime": 266, "adjtimex": 171, "sethostname": 161, "setdomainname": 162,
        "syslog": 116, "lookup_dcookie": 18, "vhangup": 58, "fanotify_init": 262, "fanotify_mark": 263,
        "inotify_init1": 26, "inotify_add_watch": 27, "move_pages": 239, "migrate_pages": 238,
        "io_setup": 0, "sync": 81, "syncfs": 267,
    },
}
_SAME_EVERYWHERE = {
    "pidfd_send_signal": 424, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
    "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
    "pidfd_open": 434, "pidfd_getfd": 438, "process_madvise": 440, "mount_setattr": 442, "quotactl_fd": 443,
    "memfd_secret": 447, "process_mrelease": 448, "cachestat": 451, "statmount": 457, "listmount": 458,
    "lsm_get_self_attr": 459, "lsm_set_self_attr": 460, "lsm_list_modules": 461, "open_tree_attr": 467,
}
_START_PROCESS = {
    "x86_64": {"fork": 57, "vfork": 58, "execve": 59, "execveat": 322},
    "aarch64": {"execve": 221, "execveat": 281},
}
_EXECUTE = ("execve", "execveat")
_OTHERS = {
    "x86_64": {
        "setpriority": 141, "ioprio_set": 251, "rt_sigqueueinfo": 129, "rt_tgsigqueueinfo": 297,
        "chmod": 90, "fchmod": 91, "chown": 92, "fchown": 93, "lchown": 94, "fchownat": 260, "fchmodat": 268,
        "utime": 132, "utimes": 235, "futimesat": 261, "utimensat": 280, "setxattr": 188, "lsetxattr": 189,
        "fsetxattr": 190, "removexattr": 197, "lremovexattr": 198, "fremovexattr": 199, "fchmodat2": 452,
        "setxattrat": 463, "removexattrat": 466, "file_setattr": 469,
    },
    "aarch64": {
        "setpriority": 140, "ioprio_set": 30, "rt_sigqueueinfo": 138, "rt_tgsigqueueinfo": 240,
        "fchmod": 52, "fchmodat": 53, "fchownat": 54, "fchown": 55, "utimensat": 88, "setxattr": 5, "lsetxattr": 6,
        "fsetxattr": 7, "removexattr": 14, "lremovexattr": 15, "fremovexattr": 16, "fchmodat2": 452,
        "setxattrat": 463, "removexattrat": 466, "file_setattr": 469,
    },
}
"""Calls on other processes by their number, and on attributes of files, which Landlock does not guard."""
_ON_ITSELF = {
    "x86_64": {"prlimit64": 302, "sched_setaffinity": 203},
    "aarch64": {"prlimit64": 261, "sched_setaffinity": 122},
}
"""Calls that may name another process by its number; allowed with 0, the caller."""
_CLOCKS = {
    "x86_64": {"clock_gettime": 228, "clock_getres": 229, "clock_nanosleep": 230, "timer_create": 222},
    "aarch64": {"clock_gettime": 113, "clock_getres": 114, "clock_nanosleep": 115, "timer_create": 107},
}
"""Calls on clocks, which may be those of another process."""
_CHECKED = {
    "x86_64": {"clone": 56, "socketpair": 53, "ioctl": 16, "mount": 165, "mmap": 9, "fcntl": 72, "prctl": 157},
    "aarch64": {"clone": 220, "socketpair": 199, "ioctl": 29, "mount": 40, "mmap": 222, "fcntl": 25, "prctl": 167},
}
# fmt: on
_CLONE3 = 435
_FIRST_UNKNOWN = 470
"""Newer calls than this file knows."""
_WATCH_FOLDER = 1026
"""F_NOTIFY."""
_OF_A_PROCESS = 1 << 31
"""Set in the number of a clock that belongs to some process or thread."""


class Profile(Enum):
    """Whom a filter is for."""

    ZYGOTE = "zygote"
    """The zygote and, by inheritance, programs that may not start processes."""
    STARTS_PROCESSES = "starts processes"
    """A program that may fork and execute."""
    EXECUTES = "executes"
    """A process that becomes another program and may start none: it has threads, and can only replace itself."""
    COUNTS_DATA = "counts data"
    """The same for one whose memory is limited by what it may write to: without the mappings that are not counted."""
    NO_NAMESPACES = "no namespaces"
    """A program that may not start processes and shares the machine's process numbers."""


def supported() -> bool:
    """Whether the system calls of this machine are known."""
    return os.uname().machine in _AUDIT


@functools.cache
def program(profile: Profile, own_namespaces: int = 0, own_mount: int = 0) -> list[Instruction]:
    """The filter for `profile`; the zygote may clone into `own_namespaces` (with the signal of an ended child) and
    mount with the flags `own_mount`. Raises KeyError if the machine is not `supported`."""
    machine = os.uname().machine
    checked = _CHECKED[machine]
    denied = {*_CALLS[machine].values(), *_SAME_EVERYWHERE.values()}
    starting = _START_PROCESS[machine]
    if profile in (Profile.EXECUTES, Profile.COUNTS_DATA):
        denied |= {number for name, number in starting.items() if name not in _EXECUTE}
    elif profile is not Profile.STARTS_PROCESSES:
        denied |= set(starting.values())
    if profile is Profile.NO_NAMESPACES:
        denied |= set(_OTHERS[machine].values())
    if profile is Profile.ZYGOTE:
        denied.remove(checked["mount"])
    code: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, _AUDIT[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if machine == "x86_64":
        code += [(_JUMP_GREATER_EQUAL, 0, 1, _X32), (_RETURN, 0, 0, _KILL)]
    code += [(_JUMP_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, _ENOSYS)]
    code += [(_JUMP_GREATER_EQUAL, 0, 1, _FIRST_UNKNOWN), (_RETURN, 0, 0, _ENOSYS)]
    for number in sorted(denied):
        code += [(_JUMP_EQUAL, 0, 1, number), (_RETURN, 0, 0, _EPERM)]
    if profile is Profile.NO_NAMESPACES:
        for number in _ON_ITSELF[machine].values():
            code += _argument_rule(number, 0, _only(0))
        for number in _CLOCKS[machine].values():
            code += _argument_rule(number, 0, _no_bit_of(_OF_A_PROCESS))
        code += _argument_rule(checked["prctl"], 0, _neither(kernel.PR_SET_PDEATHSIG))
    if profile is Profile.COUNTS_DATA:
        code += _argument_rule(checked["mmap"], 3, _no_bit_of(_NOT_COUNTED))
    if profile is Profile.ZYGOTE:
        code += _argument_rule(checked["mount"], 3, _only(own_mount))
    code += _argument_rule(checked["clone"], 0, _clone_rule(profile, own_namespaces))
    code += _argument_rule(checked["socketpair"], 0, _socketpair_rule())
    code += _argument_rule(checked["ioctl"], 1, _neither(*_TERMINAL_INPUT))
    code += _argument_rule(checked["fcntl"], 1, _neither(_WATCH_FOLDER))
    return [*code, (_RETURN, 0, 0, _ALLOW)]


def _clone_rule(profile: Profile, own_namespaces: int) -> list[Instruction]:
    forbidden: list[Instruction] = [(_JUMP_ANY_BIT, 0, 1, _CLONE_NAMESPACES), (_RETURN, 0, 0, _EPERM)]
    if profile is Profile.STARTS_PROCESSES:
        return [*forbidden, (_RETURN, 0, 0, _ALLOW)]
    own: list[Instruction] = (
        [(_JUMP_EQUAL, 0, 1, own_namespaces | kernel.CLONE_PARENT | signal.SIGCHLD), (_RETURN, 0, 0, _ALLOW)]
        if profile is Profile.ZYGOTE
        else []
    )
    return [*own, *forbidden, (_JUMP_ANY_BIT, 1, 0, _CLONE_THREAD), (_RETURN, 0, 0, _EPERM), (_RETURN, 0, 0, _ALLOW)]


def _socketpair_rule() -> list[Instruction]:
    """Only streams within the machine: datagrams can be sent to any socket in the file system."""
    return [
        (_JUMP_EQUAL, 1, 0, socket.AF_UNIX),
        (_RETURN, 0, 0, _EPERM),
        (_LOAD, 0, 0, _ARGUMENTS[1]),
        (_AND, 0, 0, _SOCKET_TYPES),
        *_only(socket.SOCK_STREAM),
    ]


def _no_bit_of(bits: int) -> list[Instruction]:
    return [(_JUMP_ANY_BIT, 0, 1, bits), (_RETURN, 0, 0, _EPERM), (_RETURN, 0, 0, _ALLOW)]


def _neither(*values: int) -> list[Instruction]:
    tests: list[Instruction] = [(_JUMP_EQUAL, len(values) - at, 0, value) for at, value in enumerate(values)]
    return [*tests, (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _EPERM)]


def _only(value: int) -> list[Instruction]:
    return [(_JUMP_EQUAL, 1, 0, value), (_RETURN, 0, 0, _EPERM), (_RETURN, 0, 0, _ALLOW)]


def deny(numbers: list[int]) -> list[Instruction]:
    """A filter that refuses only the calls `numbers`; tests use it to take isolation away from themselves."""
    code: list[Instruction] = [(_LOAD, 0, 0, _NUMBER)]
    for number in numbers:
        code += [(_JUMP_EQUAL, 0, 1, number), (_RETURN, 0, 0, _EPERM)]
    return [*code, (_RETURN, 0, 0, _ALLOW)]


def _argument_rule(number: int, argument: int, rule: list[Instruction]) -> list[Instruction]:
    return [(_JUMP_EQUAL, 0, len(rule) + 1, number), (_LOAD, 0, 0, _ARGUMENTS[argument]), *rule]
