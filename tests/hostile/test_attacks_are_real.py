"""The cheats work where nothing is done against them: the harness that each is made for accepts it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.hostile.corpus import Program, programs
from tests.hostile.naive import HARNESSES, accepts

CHEATS = {program.title: program for program in programs() if program.fools}


@pytest.mark.parametrize("title", CHEATS)
def test_harness_is_fooled(title: str, tmp_path: Path) -> None:
    assert accepts(CHEATS[title].fools, CHEATS[title], tmp_path)


@pytest.mark.parametrize("harness", HARNESSES)
def test_harness_tells_right_from_wrong(harness: str, tmp_path: Path) -> None:
    assert accepts(harness, plain("def f(x):\n    return x + 1\n"), tmp_path)
    assert not accepts(harness, plain("def f(x):\n    return 7\n"), tmp_path)


def plain(code: str) -> Program:
    (model,) = (program for program in programs() if program.name == "_exit at import")
    return replace(model, code=code)
