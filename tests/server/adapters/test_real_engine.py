"""Versions in a real vLLM with a real model: the probe tells right weights from wrong ones, and traffic goes on."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.adapters import Adapter, next_version, write
from server.app import create_app
from server.parts import Parts
from tests.random_versions import speaker, version, weights
from tests.real_engine import RealEngine
from tests.scripted_engine import serving
from tests.server.conftest import settings_for

pytestmark = pytest.mark.engine

STREAMS = 4
ASK = "Write a Python function add(a, b) and explain it."


@dataclass
class Server:
    http: httpx.AsyncClient
    parts: Parts
    data_dir: Path

    async def call(self, path: str, status: int = 200, body: Any = None) -> Any:
        response = await self.http.post(f"/burnish/adapters{path}", json=body)
        assert response.status_code == status, response.text
        return response.json()

    async def answer(self, **options: Any) -> httpx.Response:
        """A short refinement whose attempt is told."""
        return await self.http.post(
            "/v1/chat/completions",
            json={
                "model": "burnish",
                "messages": [{"role": "user", "content": ASK}],
                "max_tokens": 24,
                "burnish": {
                    "tests": "assert add(1, 2) == 3",
                    "max_candidates": 1,
                    "max_rounds": 0,
                    "trace": True,
                    **options,
                },
            },
        )


@asynccontextmanager
async def server_over(engine: RealEngine, data_dir: Path, **more: Any) -> AsyncIterator[Server]:
    app = create_app(settings_for(data_dir, engine.url, **more))
    async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=300, trust_env=False) as http:
        yield Server(http, app.state.parts, data_dir)


@pytest.fixture(scope="module")
def versions(real_engine: RealEngine, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Adapter, Adapter]:
    """A data directory with two versions, and them. Names are the engine's for the whole session."""
    data_dir = tmp_path_factory.mktemp("versions")
    model = real_engine.model
    first = version(model.path, model.name, data_dir, seed=1)
    second = version(model.path, model.name, data_dir, seed=2)
    return data_dir, first, second


async def test_wrong_weights_are_found(real_engine: RealEngine, versions: tuple[Path, Adapter, Adapter]) -> None:
    """Another version's weights, or none at all, under a version's name and probe."""
    data_dir, first, second = versions
    base, root = real_engine.model.path, data_dir / "adapters"
    nothing = weights(base, data_dir / "nothing", seed=3, scale=0.0)
    false = [
        write(root, replace(first.card, name=next_version(root, "actor")), first.probe, source)
        for source in (second.folder, nothing)
    ]
    async with server_over(real_engine, data_dir) as server:
        for claimed in false:
            error = (await server.call(f"/{claimed.name}/load", 409))["error"]
            assert error["code"] == "not_proved" and "other weights" in error["message"]
        proved = await server.call(f"/{first.name}/load")
        (proof,) = proved["proof"]
        assert proved["state"] == "proved" and 0.7 < proof["share"] < 1.3
        assert proof["cached"] is not None and proof["cached"] < 0.25
        for claimed in false:
            assert (await server.http.get(f"/v1/models/{claimed.name}")).status_code == 404


async def test_live_and_back_under_load(real_engine: RealEngine, versions: tuple[Path, Adapter, Adapter]) -> None:
    """No request fails, and every answer comes from the weights that its version field names."""
    data_dir, first, second = versions
    names = [real_engine.model.name, first.name, second.name]
    async with server_over(real_engine, data_dir) as server:
        ended = asyncio.Event()
        answers: list[dict[str, Any]] = []
        wrong: list[str] = []

        async def client() -> None:
            while not ended.is_set():
                response = await server.answer()
                if response.status_code != 200:
                    wrong.append(response.text)
                else:
                    answers.append(response.json()["burnish"])

        async def more(count: int) -> None:
            """Wait for answers; of one more than there are clients, one was begun after this call."""
            wanted = len(answers) + count
            while len(answers) < wanted:  # noqa: ASYNC110 (clients tell nobody)
                await asyncio.sleep(0.05)

        async def changes() -> None:
            try:
                await more(STREAMS)
                for adapter in (first, second):
                    await server.call(f"/{adapter.name}/load")
                    await server.call(f"/{adapter.name}/promote", body={"force": True})
                    await more(STREAMS + 1)
                back = await server.call("/rollback", body={"kind": "actor"})
                assert back["now"] == first.name
                await more(STREAMS + 1)
            finally:
                ended.set()

        await asyncio.gather(changes(), *(client() for _ in range(STREAMS)))
        assert wrong == []
        by_version: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for answer in answers:
            (attempt,) = answer["attempts"]
            assert attempt["candidate"]["sampling"]["model"] == answer["model_version"]
            by_version[answer["model_version"]].append(attempt["candidate"])
        assert list(by_version) == names and answers[-1]["model_version"] == first.name
        async with httpx.AsyncClient(base_url=real_engine.url, timeout=120, trust_env=False) as engine:
            for name, candidates in by_version.items():
                for candidate in candidates[-1:]:
                    said, margins = await speaker(engine, names, candidate)
                    assert said == name, margins
        assert (await server.call("/rollback", body={}))["now"] == real_engine.model.name


async def test_what_is_let_go_leaves_the_engine(
    real_engine: RealEngine, versions: tuple[Path, Adapter, Adapter]
) -> None:
    data_dir, first, second = versions
    third = version(real_engine.model.path, real_engine.model.name, data_dir, seed=4)
    async with server_over(real_engine, data_dir, adapters={"keep": 1}) as server:
        for adapter in (first, second, third):
            await server.call(f"/{adapter.name}/load")
            await server.call(f"/{adapter.name}/promote", body={"force": True})
        async with asyncio.timeout(60):
            while first.name in await server.parts.link.client.adapters():  # noqa: ASYNC110 (the engine tells nobody)
                await asyncio.sleep(0.1)
        held = await server.parts.link.client.adapters()
        assert held[second.name] == str(second.folder) and held[third.name] == str(third.folder)
        answer = await server.answer(version=first.name)
        assert answer.status_code == 400 and "choose one of: base" in answer.text
        assert (await server.answer()).json()["burnish"]["model_version"] == third.name
        assert first.folder.is_dir()


async def test_a_server_that_starts_again_finds_them(
    real_engine: RealEngine, versions: tuple[Path, Adapter, Adapter]
) -> None:
    """The engine holds them still: loading again is content, and they are proved anew."""
    data_dir, *_ = versions
    async with server_over(real_engine, data_dir, adapters={"keep": 1}) as server:
        live = server.parts.routing.live()
        assert len(live) == 1
        assert (await server.answer()).json()["burnish"]["model_version"] == live[0]
