"""Pages that a fork writes to, and copying them while it is made."""

from __future__ import annotations

import ctypes
import mmap
import os
import resource
from pathlib import Path

import pytest

from agent.sandbox.walls import pages
from tests.agent.sandbox.forked import forked

_SIZE = mmap.PAGESIZE
_COUNT = 400
_WRITTEN = range(0, _COUNT, 2)


class Memory:
    """Pages of our own, all in memory."""

    def __init__(self) -> None:
        self._map = mmap.mmap(-1, _COUNT * _SIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.first = ctypes.addressof(ctypes.c_char.from_buffer(self._map)) // _SIZE
        self.write(range(_COUNT))

    def write(self, numbers: range) -> None:
        for number in numbers:
            self._map[number * _SIZE] = 1


def _faults(memory: Memory) -> int:
    """Page faults of a process that writes to half of the pages, up to 255."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    memory.write(_WRITTEN)
    return min(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, 255)


def test_a_fork_has_the_pages_for_itself_that_it_wrote_to(procfs: int) -> None:
    memory = Memory()
    area = (memory.first, memory.first + _COUNT)

    def work() -> int:
        (pagemap,) = pages.pagemap(procfs)
        before = list(pages.own(pagemap, [area]))
        memory.write(_WRITTEN)
        written = [memory.first + number for number in _WRITTEN]
        return 0 if before == [] and list(pages.own(pagemap, [area])) == written else 1

    assert forked(work) == 0


def test_memory_of_this_process_is_found(procfs: int) -> None:
    memory = Memory()
    on_the_stack = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[25]) // _SIZE

    areas = pages.areas(procfs)

    assert all(any(first <= page < end for first, end in areas) for page in (memory.first, on_the_stack))


def test_pages_that_are_in_memory_are_told_from_others(procfs: int) -> None:
    memory = Memory()
    (pagemap,) = pages.pagemap(procfs)
    try:
        assert pages.present(pagemap, memory.first)
        assert not pages.present(pagemap, 1)
    finally:
        os.close(pagemap)


def may_pin() -> bool:
    """Whether a process like this one may pin memory."""
    memory = Memory()
    return forked(lambda: int(pages.pin([memory.first]))) == 1


def test_pinned_pages_are_copied_at_the_fork() -> None:
    if not may_pin():
        pytest.skip("this process may not use io_uring")
    memory = Memory()

    def work() -> int:
        assert pages.pin(memory.first + number for number in range(_COUNT))
        return forked(lambda: _faults(memory))

    faults = forked(work)

    assert forked(lambda: _faults(memory)) >= len(_WRITTEN)
    assert faults < len(_WRITTEN) / 4


def test_what_cannot_be_pinned_is_not() -> None:
    assert not pages.pin([])
    assert not pages.pin([1])


def test_objects_lie_side_by_side_where_holes_are_filled() -> None:
    kept = [bytes(100) for _ in range(4000)]
    del kept[::28]

    def pages_of_new(*, filled: bool) -> int:
        if filled:
            pages.fill_holes()
        made = [bytes(100) for _ in range(64)]
        return len({id(one) >> 12 for one in made})

    scattered = forked(lambda: pages_of_new(filled=False))
    assert forked(lambda: pages_of_new(filled=True)) < scattered * 3 / 4
