"""Answers kept in a file, and what they are said to cost."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from agent.errors import EngineUnavailable
from agent.recording import RecordedPolicy
from memory.records import Candidate, Sampling
from tests.fakes import ScriptedPolicy

CHAT = [{"role": "user", "content": "Write f."}]
SAMPLING = Sampling(model="base", temperature=0.8, seed=10)


class Meter:
    def __init__(self) -> None:
        self.prompt = self.completion = self.waited = 0

    def spend(self, prompt: int, completion: int) -> None:
        self.prompt += prompt
        self.completion += completion

    async def settled(self) -> None:
        self.waited += 1
        await asyncio.sleep(0)


async def sample(policy: RecordedPolicy, n: int, sampling: Sampling = SAMPLING, prefix: str = "") -> list[Candidate]:
    return [one async for one in policy.sample(CHAT, n, sampling, Meter(), prefix=prefix)]


async def test_equal_questions_are_asked_once(tmp_path: Path) -> None:
    live = ScriptedPolicy(["one", "two", "three", "four", "five", "six"])
    recorded = RecordedPolicy(live, tmp_path / "answers.sqlite")
    first = await sample(recorded, 2)
    assert await sample(recorded, 2) == first
    assert [n for _, n, _ in live.calls] == [2]
    more = await sample(recorded, 4)
    assert {one.text for one in first} < {one.text for one in more}
    assert [(n, asked.seed) for _, n, asked in live.calls] == [(2, 10), (2, 12)], "only what is missing"
    await sample(recorded, 1, replace(SAMPLING, temperature=0.9))
    await sample(recorded, 1, prefix="def f")
    assert len(live.calls) == 4
    recorded.close()
    again = RecordedPolicy(ScriptedPolicy([EngineUnavailable("off")]), tmp_path / "answers.sqlite")
    assert await sample(again, 4) == more, "without the engine"
    with pytest.raises(EngineUnavailable):
        await sample(again, 5)


async def test_tokens_are_counted_as_if_answers_grew_together(tmp_path: Path) -> None:
    live = ScriptedPolicy(["a b c d e f", "a b", "a b c d"])
    recorded, meter = RecordedPolicy(live, tmp_path / "answers.sqlite"), Meter()
    async with aclosing(recorded.sample(CHAT, 3, SAMPLING, meter)) as answers:
        async for answer in answers:
            if answer.text == "a b c d":
                break
    assert (meter.prompt, meter.completion) == (3, 4 + 2 + 4), "the longest was cut after four tokens"
    assert meter.waited == 2
    meter = Meter()
    assert [one.text async for one in recorded.sample(CHAT, 3, SAMPLING, meter)] == ["a b", "a b c d", "a b c d e f"]
    assert meter.completion == 12


async def test_without_a_seed_nothing_is_kept(tmp_path: Path) -> None:
    live = ScriptedPolicy(["one", "two"])
    recorded = RecordedPolicy(live, tmp_path / "answers.sqlite")
    unseeded = replace(SAMPLING, seed=None)
    assert [one.text for one in await sample(recorded, 1, unseeded)] == ["one"]
    assert [one.text for one in await sample(recorded, 1, unseeded)] == ["two"]


async def test_opinions_and_lengths_are_kept_too(tmp_path: Path) -> None:
    live = ScriptedPolicy(["x"], opinion=(0.5, 0.25, 0.25, 0.0))
    recorded, meter = RecordedPolicy(live, tmp_path / "answers.sqlite"), Meter()
    words = ("a", "b", "c", "d")
    assert await recorded.weigh(CHAT, words, "base", meter) == (0.5, 0.25, 0.25, 0.0)
    live.opinion, live.tokens = None, 99
    assert await recorded.weigh(CHAT, words, "base", meter) == (0.5, 0.25, 0.25, 0.0)
    assert (meter.prompt, meter.completion) == (6, 2)
    assert await recorded.count_tokens(CHAT, "base") == 99
    live.tokens = 5
    assert await recorded.count_tokens(CHAT, "base") == 99
