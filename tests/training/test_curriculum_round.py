"""Rounds of the curriculum over a scripted engine: what is asked, what moves on, and what an interruption leaves."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from agent.policy import EnginePolicy
from memory.records import Problem
from tests.scripted_engine import MODEL, ScriptedEngine
from tests.training.test_collect import QUICK, Rig, answer, collecting, problem
from training.collect import Collected
from training.curriculum import CurriculumSettings, cuts
from training.curriculum_round import curriculum_round
from training.errors import BadData

REFERENCE = "def f(x):\n    if x < 0:\n        x = 0\n    while False:\n        pass\n    return x + 1\n"
RULES = CurriculumSettings(window=4, gate=0.25, patience=4)


def easy() -> Problem:
    return problem("easy", reference=REFERENCE)


def hard() -> Problem:
    return problem("hard", reference=REFERENCE.replace("x + 1", "x + 1 + 0"))


def continued(body: dict[str, Any], index: int) -> str:
    """The rest of the reference where a beginning is given, of the easy problem only; else a whole program."""
    begun = body["messages"][-1]
    if begun["role"] != "assistant":
        return answer(body, index)
    whole = REFERENCE if "easy" in body["messages"][0]["content"] else REFERENCE.replace("x + 1", "x + 7")
    return whole[len(begun["content"].removeprefix("```python\n")) :] + "```"


async def one_round(rig: Rig, file: Path, problems: list[Problem], **more: Any) -> Collected:
    return await curriculum_round(
        file,
        problems,
        MODEL,
        QUICK,
        policy=EnginePolicy(rig.http, lambda: True),
        sandbox=rig.sandbox,
        store=rig.store,
        rules=RULES,
        **more,
    )


def progress(file: Path) -> dict[str, tuple[int, bool]]:
    told = json.loads(file.read_text())["problems"]
    return {name: (one["stage"], one["parked"]) for name, one in told.items()}


async def test_what_passes_moves_on_and_what_does_not_rests_for_a_round(tmp_path: Path) -> None:
    engine, file = ScriptedEngine(continued), tmp_path / "course.json"
    given = [len(cuts(one.reference or "")) - 1 for one in (easy(), hard())]
    assert given == [2, 2]
    async with collecting(engine, tmp_path) as rig:
        done = await one_round(rig, file, [easy(), hard()])
        assert (done.total, done.stored) == (2, 2) and progress(file) == {"easy": (1, False), "hard": (0, True)}
        done = await one_round(rig, file, [easy(), hard()])  # the hard one rests
        assert (done.total, done.stored) == (1, 1) and progress(file) == {"easy": (2, False), "hard": (0, False)}
        done = await one_round(rig, file, [easy(), hard()])
        assert done.stored == 2 and progress(file)["hard"] == (0, True)
        prefixes = {one.problem.id: set() for one in await rig.stored()}  # type: dict[str, set[str]]
        for one in await rig.stored():
            prefixes[one.problem.id] |= {attempt.candidate.prefix for attempt in one.attempts}
    begun = {"```python\n" + REFERENCE[:cut] if cut else "" for cut in cuts(REFERENCE)}
    assert prefixes["easy"] == begun and len(prefixes["hard"]) == 1


async def test_a_stopped_round_goes_on(tmp_path: Path) -> None:
    engine, file, stop = ScriptedEngine(continued), tmp_path / "course.json", asyncio.Event()
    stop.set()
    async with collecting(engine, tmp_path) as rig:
        done = await one_round(rig, file, [easy(), hard()], stop=stop)
        assert done.stopped and not file.exists()
        await one_round(rig, file, [easy()])
        asked = len(engine.bodies)
        file.unlink()
        assert (await one_round(rig, file, [easy()])).before == 1 and len(engine.bodies) == asked
    assert progress(file) == {"easy": (1, False)}


async def test_another_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "course.json"
    file.write_text('{"round": 1}')
    async with collecting(ScriptedEngine(continued), tmp_path) as rig:
        with pytest.raises(BadData, match="holds no curriculum"):
            await one_round(rig, file, [easy()])
    assert file.read_text() == '{"round": 1}'
