"""Loading into every replica: all hold a version, or it counts as not loaded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from server.adapters.replicas import Replicas
from server.engine.client import EngineClient
from server.errors import ApiError
from tests.lora_engine import LoraEngine, published
from tests.scripted_engine import serving


@asynccontextmanager
async def replicas(*engines: LoraEngine) -> AsyncIterator[Replicas]:
    async with AsyncExitStack() as stack:
        clients = []
        for engine in engines:
            client = EngineClient(await stack.enter_async_context(serving(engine.app())))
            stack.push_async_callback(client.aclose)
            clients.append(client)
        yield Replicas(clients)


async def test_every_replica_gets_it_and_loses_it(tmp_path: Path) -> None:
    one, other = LoraEngine(), LoraEngine()
    adapter = published(tmp_path)
    async with replicas(one, other) as both:
        await both.load(adapter)
        assert one.held == other.held == {"actor@1": str(adapter.folder)} == await both.holding()
        await both.load(adapter)
        assert (one.loads, other.loads) == (1, 1)
        other.forget()
        assert await both.holding() == {}
        await both.load(adapter)
        assert (one.loads, other.loads) == (1, 2)
        await both.unload("actor@1")
        assert one.held == other.held == {}
        await both.unload("actor@1")


async def test_another_folder_under_the_name_is_no_success(tmp_path: Path) -> None:
    engine = LoraEngine(held={"actor@1": "/elsewhere/actor@1"})
    async with replicas(engine) as ours:
        with pytest.raises(ApiError, match="holds another folder as actor@1"):
            await ours.load(published(tmp_path))


async def test_a_folder_that_is_gone_is_refused_by_the_engine(tmp_path: Path) -> None:
    adapter = published(tmp_path)
    adapter.folder.rename(tmp_path / "gone")
    async with replicas(LoraEngine()) as ours:
        with pytest.raises(ApiError, match="No adapter found"):
            await ours.load(adapter)


async def test_an_engine_without_runtime_adapters(tmp_path: Path) -> None:
    async with replicas(LoraEngine(runtime_lora=False)) as ours:
        with pytest.raises(ApiError, match="adapters need vLLM") as refusal:
            await ours.load(published(tmp_path))
        assert refusal.value.status == 409
