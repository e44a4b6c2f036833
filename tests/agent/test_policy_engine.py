"""The policy on the real engine: what it reports must be what training can use."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import httpx
import pytest

from agent.errors import EngineRefused
from agent.policy import EnginePolicy
from agent.run import Run
from memory.records import Sampling
from tests.real_engine import RealEngine

pytestmark = pytest.mark.engine

CHAT = [{"role": "user", "content": "Write a Python function add(a, b)."}]


@pytest.fixture(scope="module")
async def http(real_engine: RealEngine) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=real_engine.url, timeout=120, trust_env=False) as client:
        yield client


def sampling(real_engine: RealEngine, **more: Any) -> Sampling:
    return Sampling(model=real_engine.model.name, temperature=1.0, seed=11, **more)


async def test_ids_and_log_probabilities_are_those_of_the_engine(
    real_engine: RealEngine, http: httpx.AsyncClient
) -> None:
    """The stored ids, given back as a prompt, score to the stored log-probabilities."""
    policy = EnginePolicy(http, lambda: True)
    made = [one async for one in policy.sample(CHAT, 3, sampling(real_engine, max_tokens=24), Run())]
    assert len(made) == 3 and len({one.completion_ids for one in made}) == 3
    for one in made:
        ids = [*one.prompt_ids, *one.completion_ids]
        scored = await http.post(
            "/v1/completions",
            json={"model": real_engine.model.name, "prompt": ids, "max_tokens": 1, "prompt_logprobs": 0},
        )
        entries = scored.json()["choices"][0]["prompt_logprobs"][len(one.prompt_ids) :]
        again = [entry[str(token)]["logprob"] for entry, token in zip(entries, one.completion_ids, strict=True)]
        differences = [abs(two - first) for two, first in zip(again, one.logprobs, strict=True)]
        assert max(differences) < 0.5 and sum(differences) / len(differences) < 0.1  # logits are bfloat16
        assert await policy.count_tokens(CHAT, real_engine.model.name) == one.prompt_tokens == len(one.prompt_ids)


async def test_the_same_seed_gives_the_same_candidates(real_engine: RealEngine, http: httpx.AsyncClient) -> None:
    policy = EnginePolicy(http, lambda: True)
    runs = [
        sorted([one.text async for one in policy.sample(CHAT, 2, sampling(real_engine, max_tokens=12), Run())])
        for _ in range(2)
    ]
    assert runs[0] == runs[1]


async def test_closing_aborts_in_the_engine(real_engine: RealEngine, http: httpx.AsyncClient) -> None:
    policy = EnginePolicy(http, lambda: True)
    stream = policy.sample(CHAT, 4, sampling(real_engine, max_tokens=4000), Run())

    async def consume() -> None:
        async with aclosing(stream):
            async for _ in stream:
                pass

    task = asyncio.create_task(consume())
    await _engine_runs(http, 4)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await _engine_runs(http, 0)


async def _engine_runs(http: httpx.AsyncClient, wanted: int) -> None:
    running = -1.0
    for _ in range(100):
        lines = (await http.get("/metrics")).text.splitlines()
        running = sum(float(line.split()[-1]) for line in lines if line.startswith("vllm:num_requests_running"))
        if running == wanted:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"the engine runs {running} sequences, not {wanted}")


async def test_a_prompt_that_is_too_long_is_refused(real_engine: RealEngine, http: httpx.AsyncClient) -> None:
    policy = EnginePolicy(http, lambda: True)
    long = [{"role": "user", "content": "word " * 20_000}]
    with pytest.raises(EngineRefused, match="400"):
        async for _ in policy.sample(long, 1, sampling(real_engine), Run()):
            pass


async def test_many_long_prompts_with_seeds_at_once(real_engine: RealEngine, http: httpx.AsyncClient) -> None:
    """vLLM on a CPU dies when a seeded request's prompt is read in two steps; it is started so that none is, and these
    are more tokens than it reads in one."""
    policy = EnginePolicy(http, lambda: True)

    async def one(number: int) -> int:
        chat = [{"role": "user", "content": f"Number {number}. " + "word " * 600}]
        return len([made async for made in policy.sample(chat, 2, sampling(real_engine, max_tokens=2), Run())])

    assert await asyncio.gather(*(one(number) for number in range(8))) == [2] * 8
    assert (await http.get("/health")).status_code == 200


async def test_an_answer_goes_on_from_its_beginning(real_engine: RealEngine, http: httpx.AsyncClient) -> None:
    """The given text is part of the prompt's ids, and what the model adds is all that was sampled."""
    policy = EnginePolicy(http, lambda: True)
    begun = "```python\ndef add(a, b):\n"
    asked = Sampling(model=real_engine.model.name, temperature=0.0, seed=1, max_tokens=40, stop=("\n```\n",))
    (plain,) = [one async for one in policy.sample(CHAT, 1, asked, Run())]
    (made,) = [one async for one in policy.sample(CHAT, 1, asked, Run(), prefix=begun)]
    assert made.text.startswith(begun) and made.code.startswith("def add(a, b):\n")
    assert (
        len(made.prompt_ids) > len(plain.prompt_ids)
        and made.prompt_ids[: len(plain.prompt_ids) - 1] == (plain.prompt_ids[:-1])
    )
    detokenised = await http.post(
        "/detokenize", json={"model": real_engine.model.name, "tokens": list(made.completion_ids)}
    )
    assert begun + detokenised.json()["prompt"].removesuffix("<|im_end|>") == made.text


async def test_words_are_weighed_as_the_engine_would_sample_them(
    real_engine: RealEngine, http: httpx.AsyncClient
) -> None:
    chat = [{"role": "user", "content": "Is the sky blue? Answer with one word."}]
    body = {
        "model": real_engine.model.name,
        "messages": chat,
        "max_tokens": 1,
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": 20,
    }
    answer = (await http.post("/v1/chat/completions", json=body)).json()
    likely = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    words = {entry["token"]: entry["logprob"] for entry in likely if entry["token"].isalpha()}
    (one, first), (other, second) = list(words.items())[:2]
    weights = await EnginePolicy(http, lambda: True).weigh(chat, (one, other), real_engine.model.name, Run())
    assert weights is not None and sum(weights) == pytest.approx(1.0)
    assert math.log(weights[0] / weights[1]) == pytest.approx(first - second, abs=0.15)
