"""Every program of the corpus on every tier that this machine has."""

from __future__ import annotations

import functools
import json
import subprocess
from typing import Any

import pytest

from tests.hostile import corpus
from tests.hostile.__main__ import UNAVAILABLE
from tests.hostile.tiers import TIERS, Unreachable, start

NUMBERS = sorted({program.number for program in corpus.programs()})


@functools.cache
def findings(tier: str) -> dict[int, list[dict[str, Any]]]:
    """What became of the programs, by entry. Skips the test where the tier cannot be had."""
    try:
        done = start(tier, ["--json"], output=subprocess.PIPE)
    except Unreachable as reason:
        pytest.skip(str(reason))
    if done.returncode == UNAVAILABLE:
        pytest.skip(done.stdout.strip())
    by_number: dict[int, list[dict[str, Any]]] = {}
    for finding in json.loads(done.stdout):
        by_number.setdefault(finding["number"], []).append(finding)
    return by_number


@pytest.mark.parametrize("number", [0, *NUMBERS])
@pytest.mark.parametrize("tier", TIERS)
def test_as_expected(tier: str, number: int) -> None:
    """Number 0 stands for the corpus as a whole."""
    found = findings(tier)[number]
    problems = [f"{finding['title']}: {problem}" for finding in found for problem in finding["problems"]]
    assert problems == []
    reasons = {finding["skipped"] for finding in found}
    if all(reasons):
        pytest.skip("; ".join(sorted(reasons)))


def test_every_entry_has_programs() -> None:
    for section, numbers in corpus.NUMBERS.items():
        assert {program.number for program in corpus.programs() if program.section == section} == set(numbers)


def test_titles_are_unique() -> None:
    titles = [program.title for program in corpus.programs()]
    assert sorted(set(titles)) == sorted(titles)


def test_honest_programs_must_pass_and_cheats_must_not() -> None:
    for program in corpus.programs():
        if program.section == "D":
            assert {outcome.value for outcome in program.outcomes} == {"passed"}, program.title
        assert "sandbox_error" not in program.outcomes, program.title
