"""The whole product over HTTP: `burnish serve`, a real engine with a real model on CPU, the real OpenAI client.

The tests stand in the order of one server's life: it answers, loses a client, loses its engine, is stopped, comes back.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI

from tests.end_to_end.burnish_process import MODEL, BurnishProcess
from tests.real_engine import model_library

pytestmark = pytest.mark.engine

ASK = "Write a Python function add(a, b) that returns their sum.\n\nassert add(1, 2) == 3\nassert add(5, 5) == 10"
USER: list[Any] = [{"role": "user", "content": ASK}]
LONG = "Write a Python class Shop with twenty methods and long docstrings, and explain every method at length."


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BurnishProcess]:
    data_dir = tmp_path_factory.mktemp("burnish")
    shared = model_library()
    shared.mkdir(parents=True, exist_ok=True)
    (data_dir / "models").symlink_to(shared)
    process = BurnishProcess(data_dir)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        assert process.survivors() == []


@asynccontextmanager
async def client(server: BurnishProcess) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0, timeout=300) as opened:
        yield opened


async def refined(server: BurnishProcess, **more: Any) -> Any:
    async with client(server) as openai:
        return await openai.chat.completions.create(model="burnish", messages=USER, max_tokens=192, **more)


def get(server: BurnishProcess, path: str) -> Any:
    return httpx.get(f"{server.url}{path}", timeout=10, trust_env=False).json()


async def test_a_verified_answer(server: BurnishProcess) -> None:
    answer = await refined(server, seed=1)
    result = answer.burnish
    assert result["verdict"] == "passed", result
    assert result["tests"] == {"source": "prompt", "passed": 2, "total": 2}
    content = answer.choices[0].message.content or ""
    program = content.split("```python\n")[-1].split("```")[0]
    scope: dict[str, Any] = {}
    exec(program, scope)
    assert scope["add"](20, 22) == 42, "the program that was returned works outside the server"


async def test_a_verified_answer_as_a_stream(server: BurnishProcess) -> None:
    progress, content, last = "", "", None
    async with client(server) as openai:
        stream = await openai.chat.completions.create(
            model="burnish",
            messages=USER,
            max_tokens=192,
            stream=True,
            seed=2,
            stream_options={"include_usage": True},
        )
        async for chunk in stream:
            for choice in chunk.choices:
                progress += getattr(choice.delta, "reasoning", None) or ""
                content += choice.delta.content or ""
            last = chunk
    assert last is not None and last.burnish["verdict"] == "passed"  # type: ignore[attr-defined]
    assert "def add" in content and "candidate 1/16" in progress


async def test_the_trajectory_holds_what_training_needs(server: BurnishProcess) -> None:
    answer = await refined(server, seed=3, temperature=0.7)
    result = answer.burnish
    kept = get(server, f"/burnish/trajectories/{result['trajectory_id']}")
    assert kept["status"] == "finished" and kept["model_version"] == MODEL
    for attempt in kept["attempts"]:
        candidate = attempt["candidate"]
        assert len(candidate["completion_ids"]) == len(candidate["logprobs"]) == candidate["completion_tokens"] > 0
        assert candidate["prompt_ids"] and all(value <= 0 for value in candidate["logprobs"])
    tokens = sum(attempt["candidate"]["completion_tokens"] for attempt in kept["attempts"])
    assert result["tokens"]["completion"] >= tokens


async def test_the_base_model_passes_through(server: BurnishProcess) -> None:
    async with client(server) as openai:
        models = await openai.models.list()
        answer = await openai.chat.completions.create(model=MODEL, messages=USER, max_tokens=16)
    assert [model.id for model in models.data][:2] == ["burnish", MODEL]
    assert answer.model == MODEL and answer.usage is not None and answer.usage.completion_tokens <= 16
    assert not hasattr(answer, "burnish")


async def test_a_prompt_over_the_context_length(server: BurnishProcess) -> None:
    body = {"model": "burnish", "messages": [{"role": "user", "content": ASK + " word" * 4000}]}
    async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=30) as http:
        response = await http.post("/v1/chat/completions", json=body)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "context_length_exceeded" and "2048" in response.text


async def test_a_client_that_goes_away(server: BurnishProcess) -> None:
    body = {"model": "burnish", "messages": [{"role": "user", "content": LONG}], "stream": True}
    async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=60) as http:
        async with http.stream("POST", "/v1/chat/completions", json=body) as response:
            lines = response.aiter_lines()
            assert "role" in await anext(lines)
            await _running(http, at_least=1)
        await _running(http, at_most=0)
    for _ in range(50):
        newest = get(server, "/burnish/trajectories?limit=1")["data"][0]
        if newest["status"] == "cancelled":
            break
        await asyncio.sleep(0.1)
    assert newest["status"] == "cancelled"


async def _running(http: httpx.AsyncClient, at_least: int = 0, at_most: int = 10**9) -> None:
    """Wait until the engine says how many requests it works on."""
    deadline = time.monotonic() + 15
    running = -1.0
    while time.monotonic() < deadline:
        lines = (await http.get("/metrics")).text.splitlines()
        running = sum(float(line.split()[-1]) for line in lines if line.startswith("vllm:num_requests_running"))
        if at_least <= running <= at_most:
            return
        await asyncio.sleep(0.2)
    raise AssertionError(f"the engine runs {running} requests, not {at_least} to {at_most}")


async def test_the_engine_is_killed_during_a_request(server: BurnishProcess) -> None:
    """The running request goes on once the engine is back; new ones meanwhile get 503 with Retry-After."""
    body = {
        "model": "burnish",
        "messages": [{"role": "user", "content": f"{LONG}\n\nassert Shop().total() == 0"}],
        "max_tokens": 160,
        "burnish": {"max_candidates": 2, "max_rounds": 0, "deadline_s": 300},
    }
    async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=320) as http:
        asked = asyncio.create_task(http.post("/v1/chat/completions", json=body))
        await _running(http, at_least=1)
        for process in server.engine_processes():
            process.kill()
        await asyncio.sleep(1.5)
        refused = await http.post("/v1/chat/completions", json={"model": "burnish", "messages": USER})
        assert refused.status_code == 503 and refused.json()["error"]["code"] == "engine_not_ready"
        assert 1 <= int(refused.headers["retry-after"]) <= 120
        assert (await http.get("/v1/models")).json()["data"][0]["id"] == "burnish"
        assert (await http.get("/health")).status_code == 200
        answered = await asked
    assert answered.status_code == 200, answered.text
    assert answered.json()["burnish"]["candidates"] >= 1
    server.wait_ready()


async def test_ctrl_c_leaves_nothing_and_a_restart_knows_the_old_trajectories(server: BurnishProcess) -> None:
    before = get(server, "/burnish/trajectories?limit=1000")["data"]
    assert len(before) >= 4
    assert server.interrupt() == 0
    assert server.survivors() == []
    server.start()
    after = get(server, "/burnish/trajectories?limit=1000")["data"]
    assert after == before
    answer = await refined(server, seed=4)
    assert answer.burnish["verdict"] == "passed"


def test_nothing_secret_is_logged(server: BurnishProcess) -> None:
    """Runs last: the whole log is JSON lines about requests, without prompts or programs."""
    text = server.log.read_text()
    assert "def add" not in text and "assert add" not in text
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    assert any(line.get("mode") == "refined" and line.get("status") == 200 for line in lines)
