"""`POST /v1/chat/completions`: what clients see, through real sockets and the real OpenAI client."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import httpx
import openai
import pytest

from memory.records import Outcome
from tests.scripted_engine import MODEL
from tests.server.conftest import ASK, RIGHT, WRONG, Running

USER: list[Any] = [{"role": "user", "content": ASK}]


def frames(text: str) -> list[dict[str, Any]]:
    lines = [line for line in text.split("\n\n") if line]
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]" and lines.count("data: [DONE]") == 1
    return [json.loads(line[6:]) for line in lines[:-1]]


async def test_a_refined_answer(server: Running) -> None:
    response = await server.chat()
    body = response.json()
    assert response.status_code == 200
    assert body["choices"][0]["message"]["content"] == RIGHT
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["model"] == "burnish" and body["object"] == "chat.completion"
    refined = body["burnish"]
    assert refined["verdict"] == "passed"
    assert refined["tests"] == {"source": "prompt", "passed": 2, "total": 2}
    assert refined["candidates"] == 1 and refined["rounds"] == 0
    assert refined["model_version"] == MODEL
    assert set(refined["seconds"]) == {"total", "engine", "sandbox", "critic", "memory", "overhead"}
    assert refined["tokens"]["completion"] == body["usage"]["completion_tokens"] > 0
    assert response.headers["x-burnish-verdict"] == "passed"
    assert response.headers["x-burnish-trajectory"] == refined["trajectory_id"]
    assert "attempts" not in refined


async def test_the_openai_client_streamed(server: Running) -> None:
    server.engine.reply = lambda body, index: WRONG if "n" not in body else RIGHT
    progress, answer, last = "", "", None
    async with server.openai as client:
        stream = await client.chat.completions.create(
            model="burnish", messages=USER, stream=True, stream_options={"include_usage": True}
        )
        async for chunk in stream:
            for choice in chunk.choices:
                progress += getattr(choice.delta, "reasoning_content", None) or ""
                answer += choice.delta.content or ""
            last = chunk
    assert answer == RIGHT
    assert "candidate 1/16: 0 of 2 tests pass" in progress
    assert last is not None and last.usage is not None and last.usage.completion_tokens > 0
    assert last.burnish["verdict"] == "passed"  # type: ignore[attr-defined]


@pytest.mark.parametrize("model", ["burnish", MODEL])
async def test_what_the_engine_would_die_of_never_reaches_it(server: Running, model: str) -> None:
    refused = await server.chat(model=model, burnish={"refine": False}, prompt_logprobs=0)
    assert refused.status_code == 400 and refused.json()["error"]["param"] == "prompt_logprobs"
    assert server.engine.bodies == []


async def test_the_openai_client_not_streamed(server: Running) -> None:
    async with server.openai as client:
        answer = await client.chat.completions.create(model="burnish", messages=USER)
    assert answer.choices[0].message.content == RIGHT
    assert answer.burnish["verdict"] == "passed"  # type: ignore[attr-defined]


async def test_stream_frames(server: Running) -> None:
    response = await server.chat(stream=True)
    chunks = frames(response.text)
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["x-accel-buffering"] == "no" and response.headers["cache-control"] == "no-cache"
    assert chunks[0]["choices"][0] == {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
    assert all("usage" not in chunk for chunk in chunks)
    assert [chunk for chunk in chunks if "burnish" in chunk] == [chunks[-1]]
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop" and chunks[-1]["choices"][0]["delta"] == {}
    for chunk in chunks[1:-1]:
        delta = chunk["choices"][0]["delta"]
        assert "role" not in delta and chunk["choices"][0]["finish_reason"] is None
        assert set(delta) == {"content"} or delta["reasoning"] == delta["reasoning_content"]
        assert delta.get("content") != ""
    assert len({chunk["id"] for chunk in chunks}) == 1


async def test_the_first_frame_comes_before_the_engine_says_anything(server: Running) -> None:
    server.engine.stall_s = 3.0
    started = time.monotonic()
    async with (
        server.http as http,
        http.stream(
            "POST", "/v1/chat/completions", json={"model": "burnish", "messages": USER, "stream": True}
        ) as response,
    ):
        async for line in response.aiter_lines():
            assert '"role":"assistant"' in line
            break
    assert time.monotonic() - started < 1.0


async def test_tests_of_the_request_decide(server: Running) -> None:
    tests = [{"call": "add(2, 2)", "expected": 4}, {"call": "add('a', 'b')", "expected": "ab"}]
    refined = (await server.chat(burnish={"tests": tests})).json()["burnish"]
    assert refined["tests"] == {"source": "request", "passed": 2, "total": 2}
    messages = [{"role": "user", "content": "hello"}]
    refined = (await server.chat(messages=messages, burnish={"tests": "assert add(1, 2) == 3"})).json()["burnish"]
    assert refined["verdict"] == "passed"


async def test_an_answer_that_fails_says_so(server: Running) -> None:
    server.engine.reply = lambda body, index: WRONG
    body = (await server.chat(burnish={"max_candidates": 4, "max_rounds": 1, "repair": True, "trace": True})).json()
    assert body["burnish"]["verdict"] == "failed"
    assert body["burnish"]["candidates"] == 4 and body["burnish"]["rounds"] == 1
    attempts = body["burnish"]["attempts"]
    assert len(attempts) == 4
    assert attempts[0]["verdict"]["outcome"] == Outcome.FAILED_TEST
    assert attempts[0]["candidate"]["completion_ids"] and attempts[0]["candidate"]["logprobs"]
    assert attempts[-1]["origin"] == "repair"


async def test_without_tests_nothing_is_claimed(server: Running) -> None:
    messages = [{"role": "user", "content": "Write a Python function add(a, b)."}]
    refined = (await server.chat(messages=messages)).json()["burnish"]
    assert refined["verdict"] == "unverified" and refined["tests"]["source"] == "none"


async def test_tests_that_the_model_writes_choose_and_prove_nothing(server: Running) -> None:
    """The first answer subtracts, the samples add; answers to the inputs of the model's own tests decide."""
    asserts = "```python\nassert add(1, 1) == 2\nassert add(2, 5) == 7\nassert add(3, 1) == 5\n```"

    def reply(body: dict[str, Any], index: int) -> str:
        if "Do not write the program" in body["messages"][-1]["content"]:
            return asserts
        return WRONG if body.get("n") is None else RIGHT

    server.engine.reply = reply
    messages = [{"role": "user", "content": "Write a Python function add(a, b)."}]
    body = (await server.chat(messages=messages, burnish={"generated_tests": True, "trace": True})).json()
    refined = body["burnish"]
    assert refined["verdict"] == "unverified", "what the model wrote is no verdict"
    assert refined["tests"] == {"source": "generated", "passed": 2, "total": 3}
    assert "a + b" in body["choices"][0]["message"]["content"]
    compared = [one for one in refined["attempts"] if one["score"] is not None]
    agreement = {"+" in one["candidate"]["code"]: one["score"]["agreement"] for one in compared}
    assert agreement[True] > agreement[False]
    body = (await server.chat(messages=messages, burnish={"generated_tests": False})).json()
    assert body["burnish"]["candidates"] == 1 and body["burnish"]["tests"]["source"] == "none"


async def test_several_choices_are_distinct(server: Running) -> None:
    server.engine.reply = lambda body, index: RIGHT.replace("a + b", f"a + b + {index} - {index}")
    body = (await server.chat(n=3, stream=False)).json()
    texts = [choice["message"]["content"] for choice in body["choices"]]
    assert len(set(texts)) == 3 and [choice["index"] for choice in body["choices"]] == [0, 1, 2]
    chunks = frames((await server.chat(n=3, stream=True)).text)
    for index in range(3):
        own = [choice for chunk in chunks for choice in chunk["choices"] if choice["index"] == index]
        assert own[0]["delta"]["role"] == "assistant" and own[-1]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"model": MODEL}, "model"),
        ({"burnish": {"refine": False}}, "switched off"),
        ({"tools": [{"type": "function", "function": {"name": "x"}}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "format"),
        ({"max_tokens": 20}, "short"),
        ({"messages": [{"role": "user", "content": "What is a list?"}]}, "talk"),
    ],
)
async def test_pass_through(server: Running, body: dict[str, Any], reason: str) -> None:
    server.engine.reply = lambda body, index: "engine's own words"
    response = await server.chat(**body)
    answer = response.json()
    assert response.status_code == 200, answer
    assert answer["choices"][0]["message"]["content"] == "engine's own words"
    assert "burnish" not in answer
    assert answer["model"] == body.get("model", "burnish")
    sent = server.engine.bodies[-1]
    assert sent["model"] == MODEL and "burnish" not in sent
    chunks = frames((await server.chat(**body, stream=True)).text)
    assert (
        "".join(choice["delta"].get("content") or "" for c in chunks for choice in c["choices"]) == "engine's own words"
    )
    assert {chunk["model"] for chunk in chunks} == {body.get("model", "burnish")}


async def test_an_adapter_under_its_own_name(server: Running) -> None:
    server.engine.reply = lambda body, index: "adapter"
    assert (await server.chat(model="actor@1")).json()["model"] == "actor@1"
    assert server.engine.bodies[-1]["model"] == "actor@1"


async def test_our_progress_in_the_history_is_dropped(server: Running) -> None:
    history = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "hello", "reasoning_content": "candidate 1/16", "reasoning": "candidate 1/16"},
        *USER,
    ]
    await server.chat(messages=history)
    assert server.engine.bodies[-1]["messages"][1] == {"role": "assistant", "content": "hello"}
    await server.chat(messages=[*history, {"role": "user", "content": "thanks"}])
    assert server.engine.bodies[-1]["messages"][1] == {"role": "assistant", "content": "hello"}


async def test_the_clients_key_never_reaches_the_engine(server: Running) -> None:
    async with server.openai as client:
        await client.chat.completions.create(model="burnish", messages=USER)
    assert all("authorization" not in headers for headers in server.engine.headers)


async def test_a_stated_time_out_bounds_a_non_stream(server: Running) -> None:
    server.engine.stall_s = 30.0
    started = time.monotonic()
    async with server.http as http:
        response = await http.post(
            "/v1/chat/completions",
            json={"model": "burnish", "messages": USER},
            headers={"x-stainless-read-timeout": "3"},
        )
    assert time.monotonic() - started < 3
    assert response.status_code == 504 and response.json()["error"]["code"] == "deadline_exceeded"


async def test_the_deadline_returns_the_best_so_far(server: Running) -> None:
    server.engine.reply = lambda body, index: WRONG if body.get("n") is None else WRONG + "word " * 2000
    server.engine.word_s = 0.005
    started = time.monotonic()
    response = await server.chat(burnish={"deadline_s": 1.5})
    assert time.monotonic() - started < 3
    assert response.status_code == 200 and response.json()["burnish"]["verdict"] == "failed"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_disconnect_frees_engine_and_sandbox_and_keeps_what_was_made(server: Running, stream: bool) -> None:
    server.engine.reply = lambda body, index: WRONG if body.get("n") is None else WRONG + "word " * 5000
    server.engine.word_s = 0.01
    before = {row.id for row in await server.parts.store.newest(1000)}
    with pytest.raises((httpx.ReadTimeout, TimeoutError)):
        async with asyncio.timeout(1.2):
            await server.chat(stream=stream)
    for _ in range(40):
        await asyncio.sleep(0.05)
        fresh = [row for row in await server.parts.store.newest(1000) if row.id not in before]
        if server.engine.running == 0 and fresh:
            break
    assert server.engine.running == 0 and server.engine.aborted >= 1
    assert [row.status for row in fresh] == ["cancelled"]
    kept = await server.parts.store.get(fresh[0].id)
    assert kept is not None and kept.attempts[0].verdict is not None


async def test_an_engine_that_breaks_off_in_mid_stream(server: Running) -> None:
    server.engine.cut_after = 3
    server.engine.reply = lambda body, index: "word " * 50
    response = await server.chat(stream=True, burnish={"deadline_s": 1.0})
    chunks = [json.loads(line[6:]) for line in response.text.split("\n\n") if line and line != "data: [DONE]"]
    assert "error" in chunks[-1] and "choices" not in chunks[-1]
    assert isinstance(chunks[-1]["error"]["message"], str)
    async with server.openai as client:
        stream = await client.chat.completions.create(
            model="burnish", messages=USER, stream=True, extra_body={"burnish": {"deadline_s": 1.0}}
        )
        with pytest.raises(openai.APIError):
            async for _ in stream:
                pass


async def test_an_engine_that_fails_is_a_503_with_retry_after(server: Running) -> None:
    server.engine.fail_status = 500
    response = await server.chat(burnish={"deadline_s": 1.0})
    assert response.status_code == 503, response.text
    assert 1 <= int(response.headers["retry-after"]) <= 120
    assert int(response.headers["retry-after-ms"]) == 1000 * int(response.headers["retry-after"])
    response = await server.chat(model=MODEL)
    assert response.status_code == 503


async def test_missing_imports_stand_in_the_answer(server: Running) -> None:
    server.engine.reply = lambda body, index: "```python\ndef total(x: List[int]) -> int:\n    return sum(x)\n```"
    stub = "from typing import List\ndef total(x: List[int]) -> int:\n    '''>>> total([1, 2])\n    3\n    '''\n"
    ask = f"Complete:\n```python\n{stub}```"
    body = (await server.chat(messages=[{"role": "user", "content": ask}])).json()
    assert body["burnish"]["verdict"] == "passed"
    assert "```python\nfrom typing import List\n\ndef total" in body["choices"][0]["message"]["content"]


async def test_concurrent_requests_do_not_mix(server: Running) -> None:
    server.engine.reply = lambda body, index: RIGHT.replace("a + b", f"a + b  # {body['messages'][0]['content'][-3:]}")

    async def one(number: int) -> None:
        body = (await server.chat(messages=[{"role": "user", "content": f"{ASK} {number:03}"}])).json()
        assert f"# {number:03}" in body["choices"][0]["message"]["content"]
        assert body["burnish"]["verdict"] == "passed"

    await asyncio.gather(*(one(number) for number in range(24)))
