"""Versions over HTTP, and what they change for clients: through real sockets, over a scripted engine with adapters."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.lora_engine import LoraEngine, published
from tests.scripted_engine import MODEL
from tests.server.conftest import ASK, RIGHT, WRONG, Running, running

KEYS = ["key-one"]


@asynccontextmanager
async def serving_versions(tmp_path: Path, *shifts: float, **more: Any) -> AsyncIterator[Running]:
    """A server over an engine that answers rightly, with versions on its disk."""
    for shift in shifts:
        published(tmp_path, shift=shift)
    engine = LoraEngine(reply=lambda body, index: RIGHT, **more.pop("engine", {}))
    async with running(tmp_path, engine, **more) as server:
        yield server


async def called(server: Running, method: str, path: str = "", status: int = 200, **more: Any) -> Any:
    async with server.http as http:
        response = await http.request(method, f"/burnish/adapters{path}", **more)
    assert response.status_code == status, response.text
    return response.json()


async def eventually(condition: Callable[[], bool], within_s: float = 20) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 (background work tells nobody)
            await asyncio.sleep(0.01)


def engine_of(server: Running) -> LoraEngine:
    assert isinstance(server.engine, LoraEngine)
    return server.engine


def gate(candidate: str, against: str, gained: int = 20, lost: int = 0) -> dict[str, Any]:
    pairs = [(True, True)] * 60 + [(False, True)] * gained + [(True, False)] * lost
    results = [{"problem": str(n), "against": one, "candidate": two} for n, (one, two) in enumerate(pairs)]
    return {"candidate": candidate, "against": against, "results": results}


async def test_from_list_to_rollback(tmp_path: Path) -> None:
    async with serving_versions(tmp_path, 0.5, 0.7) as server:
        listing = await called(server, "GET")
        assert [(entry["name"], entry["state"]) for entry in listing["data"]] == [
            ("actor@1", "candidate"),
            ("actor@2", "candidate"),
        ]
        assert listing["live"] == {"actor": None, "critic": None}
        assert (await server.chat()).json()["burnish"]["model_version"] == MODEL
        loaded = await called(server, "POST", "/actor@1/load")
        assert loaded["state"] == "proved" and loaded["loaded"] and loaded["proof"][0]["result"] == "passed"
        promoted = await called(server, "POST", "/actor@1/promote", json=gate("actor@1", MODEL))
        assert promoted["state"] == "live" and promoted["gate"]["promote"] is True
        assert (await server.chat()).json()["burnish"]["model_version"] == "actor@1"
        await called(server, "POST", "/actor@2/load")
        await called(server, "POST", "/actor@2/promote", json=gate("actor@2", "actor@1"))
        answer = (await server.chat(burnish={"trace": True})).json()["burnish"]
        assert answer["model_version"] == "actor@2"
        assert {attempt["candidate"]["sampling"]["model"] for attempt in answer["attempts"]} == {"actor@2"}
        async with server.http as http:
            names = [entry["id"] for entry in (await http.get("/v1/models")).json()["data"]]
            assert names == ["burnish", MODEL, "actor@2", "actor@1"]
            assert (await http.get("/version")).json()["live"] == ["actor@2"]
        back = await called(server, "POST", "/rollback", json={"kind": "actor"})
        assert (back["rolled_back"], back["now"]) == ("actor@2", "actor@1")
        assert (await server.chat()).json()["burnish"]["model_version"] == "actor@1"
        again = await called(server, "POST", "/rollback", json={})
        assert again["now"] == MODEL
        refused = await called(server, "POST", "/rollback", 409, json={"kind": "actor"})
        assert refused["error"]["code"] == "nothing_to_roll_back"
        async with server.http as http:
            text = (await http.get("/metrics")).text
        assert 'burnish_adapter_events_total{event="promoted"} 2.0' in text
        assert 'burnish_version_answers_total{verdict="passed",version="actor@1"} 2.0' in text
        assert "burnish_adapters_loaded 2.0" in text


async def test_a_request_may_choose_its_version(tmp_path: Path) -> None:
    async with serving_versions(tmp_path, 0.5, 0.7) as server:
        await called(server, "POST", "/actor@1/load")
        await called(server, "POST", "/actor@1/promote", json={"force": True})
        await called(server, "POST", "/actor@2/load")
        for version, model in (("actor@2", "actor@2"), ("base", MODEL), (MODEL, MODEL), ("actor@1", "actor@1")):
            answer = (await server.chat(burnish={"version": version})).json()
            assert answer["burnish"]["model_version"] == model
            stored = await called_trajectory(server, answer["burnish"]["trajectory_id"])
            assert stored["model_version"] == model
        chunks = (await server.chat(burnish={"version": "actor@2"}, stream=True)).text
        assert '"model_version":"actor@2"' in chunks
        wrong = await server.chat(burnish={"version": "actor@9"})
        assert wrong.status_code == 400
        assert wrong.json()["error"]["message"].endswith("choose one of: base, actor@1, actor@2")
        assert wrong.json()["error"]["param"] == "burnish.version"
        misplaced = await server.chat(model="actor@1", burnish={"version": "actor@2"})
        assert misplaced.status_code == 400 and "goes with the model 'burnish'" in misplaced.text


async def called_trajectory(server: Running, trajectory_id: str) -> dict[str, Any]:
    async with server.http as http:
        found: dict[str, Any] = (await http.get(f"/burnish/trajectories/{trajectory_id}")).json()
    return found


async def test_what_is_not_refined_goes_to_the_base_model_or_the_named_version(tmp_path: Path) -> None:
    async with serving_versions(tmp_path, 0.5) as server:
        assert (await server.chat(model="actor@1")).status_code == 404
        await called(server, "POST", "/actor@1/load")
        await called(server, "POST", "/actor@1/promote", json={"force": True})
        for body, model in (
            ({"burnish": {"refine": False}}, MODEL),
            ({"burnish": {"refine": False, "version": "actor@1"}}, "actor@1"),
            ({"model": "actor@1"}, "actor@1"),
            ({"model": MODEL}, MODEL),
        ):
            assert (await server.chat(**body)).status_code == 200
            assert engine_of(server).bodies[-1]["model"] == model


async def test_the_critic_is_asked_by_its_version(tmp_path: Path) -> None:
    published(tmp_path, "critic")
    weights = {"passed": 0.4, "failed": 0.3, "crashes": 0.2, "invalid": 0.1}
    replies = iter([WRONG, WRONG.replace("a - b", "a * b - 1"), *[RIGHT] * 20])
    async with serving_versions(tmp_path, engine={"weights": weights}) as server:
        await called(server, "POST", "/critic@1/load")
        server.engine.reply = lambda body, index: next(replies)
        ask = {"burnish": {"critic": True, "repair": True, "max_candidates": 12}}
        await server.chat(**ask)
        before = [body["model"] for body in server.engine.bodies if "logprob_token_ids" in body]
        assert set(before) <= {MODEL}
        await called(server, "POST", "/critic@1/promote", json={"force": True})
        replies = iter([WRONG, WRONG.replace("a - b", "a * b - 1"), *[WRONG] * 30])
        server.engine.bodies.clear()
        answer = (await server.chat(**ask)).json()["burnish"]
        critics = [body["model"] for body in server.engine.bodies if "logprob_token_ids" in body]
        actors = [body["model"] for body in server.engine.bodies if "logprob_token_ids" not in body]
        assert critics and set(critics) == {"critic@1"} and set(actors) == {MODEL}
        assert answer["model_version"] == MODEL


async def test_traffic_goes_on_through_load_promotion_and_rollback(tmp_path: Path) -> None:
    async with serving_versions(tmp_path, 0.5, 0.7, engine={"word_s": 0.005, "load_s": 0.3}) as server:
        ended = asyncio.Event()
        answers: list[tuple[int, str]] = []

        async def client() -> None:
            async with server.http as http:
                while not ended.is_set():
                    response = await http.post(
                        "/v1/chat/completions",
                        json={"model": "burnish", "messages": [{"role": "user", "content": ASK}]},
                    )
                    answers.append((response.status_code, response.json()["burnish"]["model_version"]))

        async def answered_by(version: str) -> None:
            before = len(answers)
            await eventually(lambda: (200, version) in answers[before:], within_s=60)

        async def changes() -> None:
            try:
                await answered_by(MODEL)
                for name in ("actor@1", "actor@2"):
                    await called(server, "POST", f"/{name}/load")
                    await called(server, "POST", f"/{name}/promote", json={"force": True})
                    await answered_by(name)
                await called(server, "POST", "/rollback", json={})
                await answered_by("actor@1")
            finally:
                ended.set()

        await asyncio.gather(changes(), *(client() for _ in range(16)))
        assert {status for status, _ in answers} == {200}
        order = list(dict.fromkeys(version for _, version in answers))
        assert order == [MODEL, "actor@1", "actor@2"]


async def test_a_refinement_under_way_keeps_its_version(tmp_path: Path) -> None:
    async with serving_versions(tmp_path, 0.5, 0.7) as server:
        await called(server, "POST", "/actor@1/load")
        await called(server, "POST", "/actor@1/promote", json={"force": True})
        await called(server, "POST", "/actor@2/load")
        server.engine.stall_s = 0.6
        server.engine.reply = lambda body, index: WRONG
        slow = asyncio.create_task(server.chat(burnish={"max_candidates": 3, "trace": True}))
        await asyncio.sleep(0.3)
        await called(server, "POST", "/actor@2/promote", json={"force": True})
        answer = (await slow).json()["burnish"]
        assert answer["model_version"] == "actor@1"
        assert {attempt["candidate"]["sampling"]["model"] for attempt in answer["attempts"]} == {"actor@1"}
        server.engine.stall_s = 0.0
        assert (await server.chat(burnish={"max_candidates": 1})).json()["burnish"]["model_version"] == "actor@2"


async def test_a_version_that_is_let_go_is_asked_for_no_more(tmp_path: Path) -> None:
    async with serving_versions(tmp_path, 0.5, 0.7, 0.9, adapters={"keep": 1}) as server:
        engine = engine_of(server)
        for number in (1, 2, 3):
            await called(server, "POST", f"/actor@{number}/load")
            await called(server, "POST", f"/actor@{number}/promote", json={"force": True})
        await eventually(lambda: "actor@1" not in engine.held)
        engine.requested.clear()
        assert (await server.chat(model="actor@1")).status_code == 404
        assert (await server.chat(burnish={"version": "actor@1"})).status_code == 400
        await server.chat()
        assert set(engine.requested) == {"actor@3"}
        entry = next(e for e in (await called(server, "GET"))["data"] if e["name"] == "actor@1")
        assert entry["state"] == "retired" and not entry["loaded"]
        assert (tmp_path / "adapters" / "actor@1").is_dir()


async def test_what_the_engine_lost_is_a_503_and_comes_back(tmp_path: Path) -> None:
    async with serving_versions(tmp_path, 0.5, adapters={"poll_s": 0.5}) as server:
        await called(server, "POST", "/actor@1/load")
        await called(server, "POST", "/actor@1/promote", json={"force": True})
        engine_of(server).forget()
        response = await server.chat()
        assert response.status_code == 503 and "loaded again" in response.text
        assert "retry-after" in response.headers
        await eventually(lambda: server.parts.routing.is_routable("actor@1"))
        assert (await server.chat()).json()["burnish"]["model_version"] == "actor@1"


async def test_refusals_have_the_usual_shape(tmp_path: Path) -> None:
    published(tmp_path, weights=-0.5)
    async with serving_versions(tmp_path) as server:
        for path, body, status, code in (
            ("/actor@7/load", None, 404, "adapter_not_found"),
            ("/nonsense/load", None, 404, "adapter_not_found"),
            ("/actor@1/load", None, 409, "not_proved"),
            ("/actor@1/promote", {"force": True}, 409, "not_proved"),
            ("/actor@1/promote", {"forced": True}, 400, "invalid_value"),
            ("/rollback", {"kind": "poet"}, 400, "invalid_value"),
        ):
            error = (await called(server, "POST", path, status, json=body))["error"]
            assert error["code"] == code and error["message"], path
        listed = (await called(server, "GET"))["data"][0]
        assert listed["state"] == "refused" and "other weights" in listed["reason"]


async def test_a_report_that_does_not_convince(tmp_path: Path) -> None:
    async with serving_versions(tmp_path, 0.5) as server:
        await called(server, "POST", "/actor@1/load")
        error = await called(server, "POST", "/actor@1/promote", 409, json=gate("actor@1", MODEL, gained=0, lost=9))
        assert error["error"]["code"] == "gate_refused" and "may be worse" in error["error"]["message"]
        assert (await called(server, "GET"))["data"][0]["state"] == "refused"


async def test_the_key_is_needed(tmp_path: Path) -> None:
    async with serving_versions(tmp_path, 0.5, http={"api_keys": KEYS}) as server:
        for method, path in (
            ("GET", ""),
            ("POST", "/actor@1/load"),
            ("POST", "/actor@1/promote"),
            ("POST", "/rollback"),
        ):
            await called(server, method, path, 401, json={})
        await called(server, "GET", headers={"authorization": "Bearer key-one"})


@pytest.mark.parametrize(
    "path", ["/v1/load_lora_adapter", "/load_lora_adapter", "/v1/unload_lora_adapter", "/adapters"]
)
async def test_the_engines_own_endpoints_are_not_reachable(tmp_path: Path, path: str) -> None:
    async with serving_versions(tmp_path, 0.5) as server:
        async with server.http as http:
            response = await http.post(path, json={"lora_name": "x", "lora_path": "/etc", "name": "x", "src": "/etc"})
        assert response.status_code == 404 and engine_of(server).loads == 0


async def test_an_engine_that_takes_no_adapters(tmp_path: Path) -> None:
    async with serving_versions(tmp_path, 0.5, engine={"runtime_lora": False}) as server:
        error = await called(server, "POST", "/actor@1/load", 409)
        assert error["error"]["code"] == "adapters_unsupported" and "adapters need vLLM" in error["error"]["message"]
        assert (await server.chat()).json()["burnish"]["model_version"] == MODEL


async def test_a_server_that_starts_again_answers_with_the_live_version_at_once(tmp_path: Path) -> None:
    async with serving_versions(tmp_path, 0.5) as server:
        await called(server, "POST", "/actor@1/load")
        await called(server, "POST", "/actor@1/promote", json={"force": True})
    async with serving_versions(tmp_path) as server:
        assert engine_of(server).loads == 1
        assert (await server.chat()).json()["burnish"]["model_version"] == "actor@1"


async def test_tokenize_is_the_engines(server: Running) -> None:
    async with server.http as http:
        body: dict[str, Any] = {"model": "burnish", "messages": [{"role": "user", "content": "one two three"}]}
        assert (await http.post("/tokenize", json=body)).json() == {"count": 3}


async def test_a_stream_whose_reader_leaves_frees_its_version(tmp_path: Path) -> None:
    async with serving_versions(tmp_path, 0.5, 0.6, adapters={"keep": 1}, engine={"word_s": 0.2}) as server:
        await called(server, "POST", "/actor@1/load")
        await called(server, "POST", "/actor@1/promote", json={"force": True})
        body = {"model": "actor@1", "messages": [{"role": "user", "content": ASK}], "stream": True}
        async with server.http as http, http.stream("POST", "/v1/chat/completions", json=body) as response:
            async for line in response.aiter_lines():
                assert json.loads(line.removeprefix("data: "))["model"] == "actor@1"
                break
            assert server.parts.routing._uses["actor@1"] == 1
        await eventually(lambda: not server.parts.routing.in_use("actor@1"))
