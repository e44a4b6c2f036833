"""Memory pages that every process of a kind writes to, and so needs a copy of.

A fork shares its pages with its parent, and the first write to each costs a page fault: some 3 microseconds, of which
the copy is the smaller part. Pages that are pinned, as for input and output, are copied while the kernel forks (Linux
5.9 and later): the same copies, without the faults of the child and of its parent. They are pinned with io_uring; where
a process may not use that, nothing changes but the time that a run takes. Standard library only.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterable, Iterator

from agent.sandbox.walls import kernel, mappings

_SHIFT = os.sysconf("SC_PAGE_SIZE").bit_length() - 1
_PRESENT, _FILE, _ALONE = 1 << 63, 1 << 61, 1 << 56
"""Of an entry in a pagemap (Documentation/admin-guide/mm/pagemap.rst): in memory, of a file or shared, and mapped by no
other process."""
_COPY = _PRESENT | _ALONE
_ENTRY = 8
"""Bytes."""
_SIZES = range(48, 513, 16)
"""Of the blocks that Python's allocator hands out, from the smallest that holds a `bytes`."""
_EMPTY = b"".__sizeof__()
_SIDE_BY_SIDE, _MOST_HOLES = 8, 1000
_MOST_NAMES = 50_000
_GROWTH = 32
"""Pages: no other step of the allocator takes so many at once."""
_fillers: list[bytes] = []

Area = tuple[int, int]
"""First page and the one behind the last, by their numbers: address divided by the size of a page."""


def areas(procfs: int) -> list[Area]:
    """Where this process has memory of its own; `procfs` is a descriptor of /proc. Raises OSError."""
    return [
        (each.start >> _SHIFT, each.end >> _SHIFT) for each in mappings.mapped(procfs) if each.rights.startswith("rw")
    ]


def pagemap(procfs: int) -> list[int]:
    """A descriptor that tells about the pages of this process; none where it may not be read."""
    try:
        return [os.open("self/pagemap", os.O_RDONLY | os.O_CLOEXEC, dir_fd=procfs)]
    except OSError:
        return []


def own(pagemap: int, within: Iterable[Area]) -> Iterator[int]:
    """Numbers of the pages in memory that no other process has: of a fork, those that it wrote to."""
    for first, end in within:
        entries = memoryview(os.pread(pagemap, _ENTRY * (end - first), _ENTRY * first)).cast("Q")
        yield from (number for number, entry in enumerate(entries, first) if entry & (_FILE | _COPY) == _COPY)


def present(pagemap: int, page: int) -> bool:
    """Whether a page is in memory."""
    return bool(int.from_bytes(os.pread(pagemap, _ENTRY, _ENTRY * page), sys.byteorder) & _PRESENT)


def fill_holes() -> None:
    """Take the room that small objects have left between others, so that those that a fork makes lie side by side, on
    few pages."""
    for size in _SIZES:
        last = side_by_side = 0
        for _ in range(_MOST_HOLES):
            filler = bytes(size - _EMPTY)
            _fillers.append(filler)
            side_by_side = side_by_side + 1 if id(filler) - last == size else 0
            if side_by_side == _SIDE_BY_SIDE:
                break
            last = id(filler)


def make_room_for_names() -> None:
    """Have Python's table of names (interned strings) grow, so that no fork with some more has to copy it: 100 pages.
    How full it is cannot be asked for; that it grows is seen by the pages that one more name costs."""
    names = []
    pages = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for number in range(_MOST_NAMES):
        names.append(sys.intern(f"name {number} of none"))
        before, pages = pages, resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        if pages - before > _GROWTH:
            return


def pin(pages: Iterable[int]) -> bool:
    """Have pages of this process copied at each fork to come; whether the kernel does so."""
    ranges = _joined(sorted(pages))
    try:
        if ranges:
            kernel.pin([(first << _SHIFT, (end - first) << _SHIFT) for first, end in ranges])
    except OSError:
        return False
    return bool(ranges)


def _joined(pages: Iterable[int]) -> list[Area]:
    """Neighbours as one."""
    ranges: list[Area] = []
    for page in pages:
        if ranges and ranges[-1][1] == page:
            ranges[-1] = (ranges[-1][0], page + 1)
        else:
            ranges.append((page, page + 1))
    return ranges
