"""Landlock: file rights, signals and sockets taken from a process by the process itself (Linux 5.13 and later).

Inside the namespaces it is a second wall behind the read-only tree; where no namespaces can be had it is the first.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Sequence

from agent.sandbox.walls import kernel

SCOPED_SIGNALS = 6
"""First version of the interface that keeps signals and abstract sockets inside."""

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_READ = _READ_FILE | _READ_DIR | _EXECUTE
_MAKE_CHAR, _MAKE_SOCK, _MAKE_BLOCK = 1 << 6, 1 << 9, 1 << 11
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}
"""Number of file rights by the version that brought the last of them."""
_TCP = 0b11
_SCOPES = 0b11


class Ruleset:
    """The rights of jailed processes, made ready before they are forked."""

    def __init__(self, readable: Sequence[int], devices: Sequence[int]) -> None:
        """`readable` are descriptors of folders and files that may be read and executed, `devices` of
        files, or folders of such, that may be read and written."""
        version = kernel.landlock_version()
        self._rights = (1 << max(count for since, count in _FILE_RIGHTS.items() if since <= version)) - 1
        network = _TCP if version >= 4 else 0
        scopes = _SCOPES if version >= SCOPED_SIGNALS else 0
        size = 24 if scopes else 16 if network else 8
        self._attributes = struct.pack("QQQ", self._rights, network, scopes)[:size]
        self._rules = [_rule(_READ if _is_folder(path) else _READ & ~_READ_DIR, path) for path in readable]
        self._rules += [_rule(_READ_FILE | _WRITE_FILE, path) for path in devices]
        self._in_scratch = self._rights & ~(_MAKE_CHAR | _MAKE_BLOCK | _MAKE_SOCK)

    def enter(self, scratch: str) -> None:
        """Restrict this process; below `scratch` it may do everything but make devices and sockets. Two descriptors
        are left open. Raises OSError."""
        ruleset = kernel.landlock_ruleset(self._attributes)
        for rule in self._rules:
            kernel.landlock_allow(ruleset, rule)
        folder = os.open(scratch, os.O_PATH | os.O_CLOEXEC)
        kernel.landlock_allow(ruleset, _rule(self._in_scratch, folder))
        kernel.landlock_restrict(ruleset)


def _rule(rights: int, path: int) -> bytes:
    return struct.pack("=Qi", rights, path)


def _is_folder(path: int) -> bool:
    return stat.S_ISDIR(os.fstat(path).st_mode)


def available() -> bool:
    """Whether this kernel has Landlock."""
    return kernel.landlock_version() > 0
