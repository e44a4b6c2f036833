"""Every program of the corpus on every tier that this machine has."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tests.hostile import corpus
from tests.hostile.__main__ import UNAVAILABLE
from tests.hostile.tiers import TIERS, Unreachable, start

NUMBERS = sorted({program.number for program in corpus.programs()})


AT_ONCE = 2
"""Tiers under way at the same time, in their order: most programs of the corpus wait for their clocks. Not more: both
tiers of an ordinary user have the same one, whose processes count together."""

Found = dict[int, list[dict[str, Any]]]
"""What became of the programs, by entry."""


@pytest.fixture(scope="module")
def findings(request: pytest.FixtureRequest) -> Iterator[Mapping[str, Future[Found]]]:
    """Of each tier that is asked for; the future raises Unreachable where the tier cannot be had."""
    asked = {item.callspec.params.get("tier") for item in request.session.items if hasattr(item, "callspec")}
    with ThreadPoolExecutor(AT_ONCE) as executor:
        yield {tier: executor.submit(_found, tier) for tier in TIERS if tier in asked}


@pytest.mark.parametrize("number", [0, *NUMBERS])
@pytest.mark.parametrize("tier", TIERS)
def test_as_expected(findings: Mapping[str, Future[Found]], tier: str, number: int) -> None:
    """Number 0 stands for the corpus as a whole."""
    try:
        found = findings[tier].result()[number]
    except Unreachable as reason:
        pytest.skip(str(reason))
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


def _found(tier: str) -> Found:
    done = start(tier, ["--json"], output=subprocess.PIPE)
    if done.returncode == UNAVAILABLE:
        raise Unreachable(done.stdout.strip())
    by_number: Found = {}
    for finding in json.loads(done.stdout):
        by_number.setdefault(finding["number"], []).append(finding)
    return by_number
