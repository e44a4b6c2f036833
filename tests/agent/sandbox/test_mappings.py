"""Fewer mappings and larger pages, with the same content."""

from __future__ import annotations

import _json
import ctypes
import itertools
import json
from pathlib import Path

import pytest

from agent.sandbox.walls import mappings
from agent.sandbox.walls.mappings import Mapping
from tests.agent.sandbox.forked import forked


def _code(procfs: int) -> list[tuple[int, bytes]]:
    """Where code lies, with what is there."""
    return [
        (each.start, ctypes.string_at(each.start, each.end - each.start))
        for each in mappings.mapped(procfs)
        if each.rights == "r-xp" and each.file.startswith("/")
    ]


def _library(found: list[Mapping]) -> list[Mapping]:
    """The pieces of a library that every interpreter has loaded."""
    return [each for each in found if "/libc" in each.file]


def _in_huge_pages() -> int:
    lines = Path("/proc/self/smaps").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("AnonHugePages"))


def test_mappings_are_told_with_their_files(procfs: int) -> None:
    found = mappings.mapped(procfs)

    assert [each for each in found if each.file == "[stack]" and each.rights == "rw-p"]
    assert all(Path(each.file).exists() for each in _library(found))
    assert all(each.start < each.end <= behind.start for each, behind in itertools.pairwise(found))


def test_the_pieces_of_a_library_are_joined(procfs: int) -> None:
    before = _library(mappings.mapped(procfs))

    def work() -> bool:
        mappings.join(procfs)
        after = _library(mappings.mapped(procfs))
        return {each.rights for each in after} == {"r-xp", "rw-p"} and len(after) < len(before)

    assert len(before) >= 4
    assert forked(work) == 1


def test_extension_modules_are_copied_to_where_they_are(procfs: int) -> None:
    def work() -> bool:
        mappings.join(procfs)
        before = mappings.mapped(procfs)
        places = [each for each in before if each.file == _json.__file__]
        content = ctypes.string_at(places[0].start, places[-1].end - places[0].start)
        made = mappings.gather(procfs)
        after = mappings.mapped(procfs)
        return (
            made > 1
            and len(after) <= len(before) - made
            and not [each for each in after if each.file == _json.__file__]
            and content == ctypes.string_at(places[0].start, len(content))
            and json.loads(json.dumps({"a": [1.5, "ü"]})) == {"a": [1.5, "ü"]}
        )

    assert forked(work) == 1


@pytest.mark.parametrize(
    ("pieces", "may"),
    [([], False), ([(1, 2, "r-xp"), (2, 3, "rw-p")], True), ([(1, 2, "r-xp"), (3, 4, "rw-p")], False),
     ([(1, 2, "r-xp"), (2, 3, "---p"), (3, 4, "rw-p")], False), ([(1, 60, "r-xp"), (60, 61, "rw-p")], False)],
)  # fmt: skip
def test_only_small_libraries_that_can_be_read_in_one_are_copied(pieces: list[tuple[int, int, str]], may: bool) -> None:
    found = [Mapping(start << 12, end << 12, rights, "/lib.so") for start, end, rights in pieces]
    assert mappings._is_small_and_whole(found) is may


def test_code_stays_what_and_where_it_is(procfs: int) -> None:
    def work() -> bool:
        mappings.join(procfs)
        before = _code(procfs)
        mappings.enlarge(procfs)
        return [content for _, content in before] == [
            ctypes.string_at(start, len(content)) for start, content in before
        ] and sorted([3, 1, 2]) == [1, 2, 3]

    assert forked(work) == 1


def test_code_lies_in_huge_pages(procfs: int) -> None:
    def work() -> bool:
        mappings.join(procfs)
        made = mappings.enlarge(procfs)
        return made > 0 and _in_huge_pages() - before >= 2048 * made

    def makes_some() -> bool:
        mappings.join(procfs)
        return mappings.enlarge(procfs) > 0

    before = _in_huge_pages()
    if forked(makes_some) == 0:
        pytest.skip("no code here fills a huge page, or this kernel makes none to order")
    assert forked(work) == 1


def test_a_kernel_that_refuses_changes_nothing(procfs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: int) -> None:
        raise OSError("no")

    monkeypatch.setattr("agent.sandbox.walls.kernel.collapse", refuse)
    monkeypatch.setattr("agent.sandbox.walls.kernel.protect", refuse)
    before = mappings.mapped(procfs)

    def work() -> bool:
        mappings.join(procfs)
        made = mappings.gather(procfs) + mappings.enlarge(procfs)
        code = [each for each in before if each.rights == "r-xp"]
        return made == 0 and [each for each in mappings.mapped(procfs) if each.rights == "r-xp"] == code

    assert forked(work) == 1
