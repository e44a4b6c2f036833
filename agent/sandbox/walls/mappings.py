"""What is mapped in a template: every fork copies the mappings, and finds the pages of libraries again, 16 at a time.

A library lies in memory in five pieces that differ only in what may be done with them: its tables and constants can be
read, its code executed, what was relocated only read again. Joined they are two. Extension modules are small and many;
copied into memory where everything may be done, each is one piece with its neighbours. And where code fills 2 MiB that
lie as a huge page does, it is put into one: a fork has that by one entry instead of 512, with nothing to find and
nothing to give back. A program may write machine code and run it as it likes, so it gains nothing by any of this. Where
the kernel refuses (huge pages to order: Linux 6.1 and later) nothing changes but the time that a run takes. Standard
library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import itertools
import mmap
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import EXTENSION_SUFFIXES
from typing import NamedTuple

from agent.sandbox.walls import kernel

_HUGE = 2 << 20
"""Bytes of a huge page where a small one has 4 KiB."""
_SMALL = 192 << 10
"""Bytes. Of larger libraries most is never touched, and every fork would copy the entries of all pages."""
_EVERYTHING = kernel.PROT_READ | kernel.PROT_WRITE | kernel.PROT_EXEC


class Mapping(NamedTuple):
    """One line of `/proc/self/maps`."""

    start: int
    end: int
    rights: str
    file: str
    """A path, a name in brackets, or nothing."""


def join(procfs: int) -> None:
    """Join the pieces of each library; `procfs` is a descriptor of /proc. Raises OSError if it cannot be read."""
    for mapping, behind in itertools.pairwise(mapped(procfs)):
        if mapping.rights != "r--p" or not mapping.file.startswith("/"):
            continue
        relocated = behind.rights == "rw-p" and (behind.start, behind.file) == (mapping.end, mapping.file)
        rights = kernel.PROT_READ | (kernel.PROT_WRITE if relocated else kernel.PROT_EXEC)
        with contextlib.suppress(OSError):
            kernel.protect(mapping.start, mapping.end - mapping.start, rights)


def gather(procfs: int) -> int:
    """Copy small extension modules into memory without a file, each to its own place; how many. Raises OSError if
    `procfs` cannot be read."""
    pieces: dict[str, list[Mapping]] = {path: [] for path in _extension_modules()}
    for mapping in mapped(procfs):
        if mapping.file in pieces:
            pieces[mapping.file].append(mapping)
    if not _may_do_everything():
        return 0
    made = 0
    collects = gc.isenabled()
    gc.disable()
    for found in filter(_is_small_and_whole, pieces.values()):
        with contextlib.suppress(OSError):
            _gather(found[0].start, found[-1].end - found[0].start)
            made += 1
    if collects:
        gc.enable()
    return made


def _may_do_everything() -> bool:
    """Whether this process may make memory that it has written to executable."""
    with mmap.mmap(-1, mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as page:
        held = ctypes.c_char.from_buffer(page)
        try:
            kernel.protect(ctypes.addressof(held), mmap.PAGESIZE, _EVERYTHING)
        except OSError:
            return False
        finally:
            del held
    return True


def _is_small_and_whole(pieces: Sequence[Mapping]) -> bool:
    if not pieces or pieces[-1].end - pieces[0].start > _SMALL:
        return False
    without_gaps = all(piece.end == behind.start for piece, behind in itertools.pairwise(pieces))
    return without_gaps and all(piece.rights.startswith("r") for piece in pieces)


def _gather(start: int, size: int) -> None:
    """Replace the mappings there by memory of the same content. Nothing of the library may be called meanwhile. Raises
    OSError before anything has changed."""
    content = ctypes.string_at(start, size)
    kernel.allot(start, size, kernel.PROT_READ | kernel.PROT_WRITE)
    ctypes.memmove(start, content, size)
    kernel.protect(start, size, _EVERYTHING)


def _extension_modules() -> Iterator[str]:
    """Their files, less that of what does the copying."""
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None) or ""
        if path.endswith(tuple(EXTENSION_SUFFIXES)) and name != "_ctypes":
            yield os.path.realpath(path)


def enlarge(procfs: int) -> int:
    """Put code into huge pages; how many. Raises OSError if `procfs` cannot be read."""
    if mmap.PAGESIZE != 4096:
        return 0
    made = 0
    for mapping in mapped(procfs):
        if mapping.rights != "r-xp" or not mapping.file.startswith("/"):
            continue
        for start in range(-(-mapping.start // _HUGE) * _HUGE, mapping.end - _HUGE + 1, _HUGE):
            with contextlib.suppress(OSError):
                _enlarge(start)
                made += 1
    return made


def _enlarge(start: int) -> None:
    """Replace the memory there by a huge page of the same content, in one system call. Raises OSError."""
    with mmap.mmap(-1, 2 * _HUGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as room:
        copy = -(-ctypes.addressof(ctypes.c_char.from_buffer(room)) // _HUGE) * _HUGE
        ctypes.memmove(copy, start, _HUGE)
        kernel.collapse(copy, _HUGE)
        kernel.protect(copy, _HUGE, kernel.PROT_READ | kernel.PROT_EXEC)
        kernel.move(copy, start, _HUGE)


def mapped(procfs: int) -> list[Mapping]:
    """What this process has mapped, by address. Raises OSError."""
    with open(os.open("self/maps", os.O_RDONLY, dir_fd=procfs), encoding="utf-8", errors="replace") as file:  # noqa: PTH123
        lines = [line.rstrip("\n").split(maxsplit=5) for line in file]
    found = []
    for addresses, rights, _, _, _, *name in lines:
        start, end = (int(address, 16) for address in addresses.split("-"))
        found.append(Mapping(start, end, rights, *(name or [""])))
    return found
