"""Bad input: the right status, OpenAI's error shape, and a message that says what to do."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from tests.scripted_engine import ScriptedEngine
from tests.server.conftest import ASK, RIGHT, Running, running

USER: list[Any] = [{"role": "user", "content": ASK}]


@pytest.mark.parametrize(
    ("body", "status", "code", "says"),
    [
        ({"messages": []}, 400, "invalid_value", "at least one message"),
        ({"messages": None}, 400, "invalid_value", "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, 400, "invalid_value", "role"),
        ({"model": "gpt-9"}, 404, "model_not_found", "choose one of: burnish, scripted/model"),
        ({"burnish": {"max_candidate": 3}}, 400, "invalid_value", "did you mean 'max_candidates'"),
        ({"burnish": {"xyz": 3}}, 400, "invalid_value", "known keys"),
        ({"burnish": {"max_candidates": -1}}, 400, "invalid_value", "greater than or equal to 1"),
        ({"burnish": {"max_rounds": -1}}, 400, "invalid_value", "greater than or equal to 0"),
        ({"burnish": {"deadline_s": 0}}, 400, "invalid_value", "greater than 0"),
        ({"burnish": {"max_candidates": 10**6}}, 400, "invalid_value", "at most 64"),
        ({"burnish": {"tests": "assert add("}}, 400, "invalid_value", "not valid Python"),
        ({"burnish": {"tests": [{"a": 1}]}}, 400, "invalid_value", "stdin"),
        ({"burnish": []}, 400, "invalid_value", "burnish"),
        ({"max_tokens": -5}, 400, "invalid_value", "max_tokens"),
        ({"temperature": 9}, 400, "invalid_value", "temperature"),
        ({"n": 0}, 400, "invalid_value", "n"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "unsupported_content", "text only"),
        ({"messages": [{"role": "user", "content": ASK + "word " * 5000}]}, 400, "context_length_exceeded", "4096"),
        ({"max_tokens": 4090}, 400, "context_length_exceeded", "shorten"),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_bad_bodies(
    server: Running, body: dict[str, Any], status: int, code: str, says: str, stream: bool
) -> None:
    response = await server.chat(**{**body, "stream": stream})
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code), error
    assert set(error) == {"message", "type", "param", "code"}
    assert says in error["message"]
    assert response.headers["x-should-retry"] == "false"


async def test_bodies_that_are_not_json_objects(server: Running) -> None:
    async with server.http as http:
        for content in (b"{not json", b"[1]", b"", b"\xff\xfe", b"[" * 100_000):
            response = await http.post("/v1/chat/completions", content=content)
            assert response.status_code == 400 and "JSON" in response.json()["error"]["message"]


async def test_half_a_surrogate_pair(server: Running) -> None:
    async with server.http as http:
        content = b'{"model": "burnish", "messages": [{"role": "user", "content": "write code \\ud800"}]}'
        response = await http.post("/v1/chat/completions", content=content)
    assert response.status_code == 400 and "surrogate" in response.json()["error"]["message"]


async def test_a_ten_megabyte_prompt(server: Running) -> None:
    response = await server.chat(messages=[{"role": "user", "content": "x" * 10_000_000}])
    assert response.status_code == 413
    error = response.json()["error"]
    assert error["code"] == "request_too_large" and "4 MB" in error["message"]


async def test_unknown_paths_and_wrong_methods(server: Running) -> None:
    async with server.http as http:
        missing, wrong = await http.get("/v1/nothing"), await http.get("/v1/chat/completions")
    assert missing.status_code == 404 and missing.json()["error"]["code"] == "not_found"
    assert wrong.status_code == 405 and wrong.headers["allow"] == "POST"
    assert wrong.json()["error"]["code"] == "method_not_allowed"


@pytest.mark.parametrize("path", ["/v1/chat/completions/", "/chat/completions", "/v1/v1/chat/completions"])
async def test_forgiving_paths(server: Running, path: str) -> None:
    async with server.http as http:
        response = await http.post(path, json={"model": "burnish", "messages": USER})
    assert response.status_code == 200


async def test_nulls_are_absent(server: Running) -> None:
    names = ("tools", "stop", "stream", "n", "response_format", "stream_options", "seed", "temperature", "burnish")
    response = await server.chat(**dict.fromkeys(names))
    assert response.status_code == 200 and response.json()["burnish"]["verdict"] == "passed"


async def test_unknown_fields_are_ignored(server: Running) -> None:
    response = await server.chat(
        max_tokens=0, seed=-9007199254740991, logit_bias={"foo": 0}, user="u", metadata={}, store=True, verbosity="low"
    )
    assert response.status_code == 200


async def test_request_ids(server: Running) -> None:
    async with server.http as http:
        kept = await http.get("/health", headers={"x-request-id": "abc-1"})
        replaced = await http.get("/health", headers={"x-request-id": "x" * 10_000})
    assert kept.headers["x-request-id"] == "abc-1"
    assert replaced.headers["x-request-id"].startswith("req_")


async def test_keys(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine = ScriptedEngine(reply=lambda body, index: RIGHT)
    async with running(tmp_path, engine, http={"api_keys": ["secret-one", "secret-two"]}) as server:
        caplog.set_level(logging.DEBUG)
        body = {"model": "burnish", "messages": USER}
        async with server.http as http:
            for headers in ({}, {"authorization": "Bearer wrong-secret"}, {"authorization": "secret-one"}):
                response = await http.post("/v1/chat/completions", json=body, headers=headers)
                assert response.status_code == 401 and response.json()["error"]["code"] == "invalid_api_key"
                assert "Authorization: Bearer" in response.json()["error"]["message"]
            for headers in ({"authorization": "Bearer secret-two"}, {"x-api-key": "secret-one"}):
                response = await http.post("/v1/chat/completions", json=body, headers=headers)
                assert response.status_code == 200
            assert (await http.get("/v1/models")).status_code == 401
            assert (await http.get("/burnish/trajectories")).status_code == 401
            assert (await http.get("/health")).status_code == 200
            one = await http.get("/burnish/trajectories", headers={"x-api-key": "secret-one"})
            two = await http.get("/burnish/trajectories", headers={"x-api-key": "secret-two"})
            ids = [{row["id"] for row in listing.json()["data"]} for listing in (one, two)]
            assert len(ids[0]) == len(ids[1]) == 1 and not ids[0] & ids[1], "each key sees its own"
    assert "secret" not in caplog.text
    assert all("secret" not in str(headers) for headers in engine.headers)


async def test_web_pages_may_not_drive_a_server_without_keys(server: Running) -> None:
    async with server.http as http:
        response = await http.get("/v1/models", headers={"origin": "https://evil.example"})
    assert response.status_code == 403 and response.json()["error"]["code"] == "origin_not_allowed"
