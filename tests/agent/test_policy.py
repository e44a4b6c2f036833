"""The policy over an engine's HTTP, through real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest

from agent.errors import EngineRefused, EngineUnavailable
from agent.policy import EnginePolicy, Policy
from agent.run import Run
from memory.records import Candidate, Sampling
from tests.fakes import ScriptedPolicy
from tests.scripted_engine import MODEL, ScriptedEngine, serving

CHAT = [{"role": "user", "content": "Write f."}]
SAMPLING = Sampling(model=MODEL, temperature=0.8, top_p=0.95, min_p=0.05, seed=3, max_tokens=50)


@asynccontextmanager
async def policy_of(engine: ScriptedEngine, *, vllm: bool = True) -> AsyncIterator[EnginePolicy]:
    async with serving(engine.app()) as url, httpx.AsyncClient(base_url=url, trust_env=False) as http:
        yield EnginePolicy(http, lambda: vllm)


async def sample(policy: Policy, n: int, meter: Run | None = None, **more: Any) -> list[Candidate]:
    return [made async for made in policy.sample(CHAT, n, more.pop("sampling", SAMPLING), meter or Run(), **more)]


async def test_candidates_carry_what_the_engine_reported() -> None:
    engine = ScriptedEngine(reply=lambda body, index: f"```python\nx = {index}\n```")
    meter = Run()
    async with policy_of(engine) as policy:
        made = await sample(policy, 3, meter)
    assert sorted(one.code for one in made) == ["x = 0\n", "x = 1\n", "x = 2\n"]
    for one in made:
        assert one.text[one.code_start :].startswith(one.code)
        assert one.prompt_ids == (1, 2, 3, 4, 5) and one.prompt_tokens == 5
        assert len(one.completion_ids) == len(one.logprobs) == one.completion_tokens > 0
        assert one.sampling == replace(SAMPLING, seed=3 + int(one.code[4:])) and one.finish_reason == "stop"
    assert [meter.prompt_tokens, meter.completion_tokens] == [5, sum(one.completion_tokens for one in made)]
    body = engine.bodies[0]
    assert body["n"] == 3 and body["seed"] == 3 and body["max_tokens"] == 50 and body["top_p"] == 0.95
    assert body["min_p"] == 0.05
    assert body["return_token_ids"] is True and body["repetition_penalty"] == 1.0


async def test_an_engine_that_ignores_n_is_asked_again() -> None:
    engine = ScriptedEngine(reply=lambda body, index: "x = 1", ignores_n=True)
    async with policy_of(engine, vllm=False) as policy:
        assert len(await sample(policy, 3)) == 3
    assert [body.get("n") for body in engine.bodies] == [3, 2, None]
    assert [body["seed"] for body in engine.bodies] == [3, 4, 5], "the same seed would bring the same answer"
    assert "return_token_ids" not in engine.bodies[0] and "top_k" not in engine.bodies[0]


async def test_closing_early_aborts_the_rest_in_the_engine() -> None:
    engine = ScriptedEngine(reply=lambda body, index: "word" if index == 0 else "word " * 1000, word_s=0.005)
    async with policy_of(engine) as policy:
        async with aclosing(policy.sample(CHAT, 2, SAMPLING, Run())) as stream:
            async for made in stream:
                assert made.text == "word"
                break
        for _ in range(50):
            await asyncio.sleep(0.02)
            if engine.aborted:
                break
    assert engine.aborted == 1 and engine.running == 0


@pytest.mark.parametrize(
    ("engine", "error"),
    [
        (ScriptedEngine(fail_status=400), EngineRefused),
        (ScriptedEngine(fail_status=500), EngineUnavailable),
        (ScriptedEngine(fail_status=429), EngineUnavailable),
        (ScriptedEngine(cut_after=1), EngineUnavailable),
    ],
)
async def test_failures(engine: ScriptedEngine, error: type[Exception]) -> None:
    async with policy_of(engine) as policy:
        with pytest.raises(error):
            await sample(policy, 1)


async def test_no_engine() -> None:
    async with httpx.AsyncClient(base_url="http://127.0.0.1:9", trust_env=False) as http:
        policy = EnginePolicy(http, lambda: True)
        with pytest.raises(EngineUnavailable):
            await sample(policy, 1)
        with pytest.raises(EngineUnavailable):
            await policy.count_tokens(CHAT, MODEL)


async def test_an_answer_can_be_begun() -> None:
    engine = ScriptedEngine(reply=lambda body, index: "    return x\n```\n")
    stopping = replace(SAMPLING, stop=("\n```\n",))
    async with policy_of(engine) as policy:
        assert policy.continues
        (made,) = await sample(policy, 1, prefix="```python\ndef f(x):\n", sampling=stopping)
    assert made.code == "def f(x):\n    return x\n" and made.prefix == "```python\ndef f(x):\n"
    (body,) = engine.bodies
    assert body["messages"][-1] == {"role": "assistant", "content": "```python\ndef f(x):\n"}
    assert body["continue_final_message"] is True and body["add_generation_prompt"] is False
    assert body["stop"] == ["\n```\n"] and body["include_stop_str_in_output"] is True
    async with policy_of(engine, vllm=False) as policy:
        assert not policy.continues


async def test_words_are_weighed_by_their_first_tokens() -> None:
    engine = ScriptedEngine(weights={"right": 0.6, "wrong": 0.2})
    meter = Run()
    async with policy_of(engine) as policy:
        assert await policy.weigh(CHAT, ("right", "wrong"), MODEL, meter) == pytest.approx((0.75, 0.25))
    (body,) = engine.bodies
    assert body["max_tokens"] == 1 and len(body["logprob_token_ids"]) == 2
    assert [meter.prompt_tokens, meter.completion_tokens] == [5, 1]
    async with policy_of(engine, vllm=False) as policy:
        assert await policy.weigh(CHAT, ("right", "wrong"), MODEL, meter) is None


async def test_counting_tokens() -> None:
    async with policy_of(ScriptedEngine()) as policy:
        assert await policy.count_tokens(CHAT, MODEL) == 2
    async with policy_of(ScriptedEngine(), vllm=False) as policy:
        assert await policy.count_tokens(CHAT, MODEL) is None


async def test_the_scripted_policy_keeps_the_same_contract() -> None:
    policy: Policy = ScriptedPolicy(["x = 1", EngineUnavailable("gone")])
    with pytest.raises(EngineUnavailable):
        await sample(policy, 2)
    assert len(await sample(ScriptedPolicy(["x = 1"]), 3)) == 3
