"""The probe against an engine whose weights are known."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from agent.adapters import Adapter, Probe
from agent.errors import EngineUnavailable
from server.adapters.probe import Bounds, Proof, prove
from server.adapters.replicas import Replicas
from server.engine.client import EngineClient
from tests.lora_engine import LoraEngine, published
from tests.scripted_engine import MODEL, serving

BOUNDS = Bounds(cap=0.25, floor=0.001)


@asynccontextmanager
async def client_of(engine: LoraEngine) -> AsyncIterator[EngineClient]:
    async with serving(engine.app()) as url:
        client = EngineClient(url)
        try:
            yield client
        finally:
            await client.aclose()


async def proved(engine: LoraEngine, adapter: Adapter, *, cache: bool = True) -> Proof:
    async with client_of(engine) as client:
        await Replicas([client]).load(adapter)
        return await prove(client, adapter, MODEL, BOUNDS, cache=cache)


async def test_the_right_weights_pass(tmp_path: Path) -> None:
    proof = await proved(LoraEngine(), published(tmp_path))
    assert proof.result == "passed" and proof.reason == ""
    assert proof.distance == pytest.approx(0.0, abs=1e-9) and proof.to_base == pytest.approx(0.375)
    assert proof.separation == pytest.approx(0.1875) and proof.share == pytest.approx(1.0)
    assert proof.cached == pytest.approx(0.0, abs=1e-9)


async def test_arithmetic_noise_is_allowed_for(tmp_path: Path) -> None:
    proof = await proved(LoraEngine(noise=0.05), published(tmp_path))
    assert proof.result == "passed" and proof.noise == pytest.approx(0.05) == proof.distance


async def test_a_base_model_in_its_place_is_found(tmp_path: Path) -> None:
    adapter = published(tmp_path)
    proof = await proved(LoraEngine(confused={adapter.name: MODEL}), adapter)
    assert proof.result == "failed" and "other weights" in proof.reason
    assert proof.to_base == pytest.approx(0.0, abs=1e-9)


async def test_other_weights_under_its_name_are_found(tmp_path: Path) -> None:
    for weights in (-0.5, 0.2, 2.0):
        proof = await proved(LoraEngine(), published(tmp_path, shift=0.5, weights=weights))
        assert proof.result == "failed", weights


async def test_another_version_answering_is_found(tmp_path: Path) -> None:
    first, second = published(tmp_path, shift=-0.4), published(tmp_path, shift=0.4)
    engine = LoraEngine(confused={second.name: first.name})
    async with client_of(engine) as client:
        for adapter in (first, second):
            await Replicas([client]).load(adapter)
        assert (await prove(client, first, MODEL, BOUNDS)).result == "passed"
        assert (await prove(client, second, MODEL, BOUNDS)).result == "failed"


async def test_a_stale_cache_is_found_by_the_second_leg_only(tmp_path: Path) -> None:
    proof = await proved(LoraEngine(stale=True), published(tmp_path))
    assert proof.result == "failed" and "its cache is another's" in proof.reason
    assert (await proved(LoraEngine(stale=True), published(tmp_path), cache=False)).result == "passed"


async def test_what_cannot_be_told_from_the_base_model_is_not_proved(tmp_path: Path) -> None:
    proof = await proved(LoraEngine(), published(tmp_path, shift=0.0))
    assert proof.result == "indistinguishable"
    proof = await proved(LoraEngine(noise=0.05), published(tmp_path, shift=0.02))
    assert proof.result == "indistinguishable" and "too little" in proof.reason


async def test_another_base_model_is_found(tmp_path: Path) -> None:
    proof = await proved(LoraEngine(noise=0.4), published(tmp_path))
    assert proof.result == "failed" and "base model is not the trained one" in proof.reason


async def test_a_probe_without_texts_proves_nothing(tmp_path: Path) -> None:
    adapter = replace(published(tmp_path), probe=Probe(prompts=()))
    assert (await proved(LoraEngine(), adapter)).result == "failed"


async def test_an_engine_that_does_not_answer() -> None:
    client = EngineClient("http://127.0.0.1:9")
    with pytest.raises(EngineUnavailable):
        await Replicas([client]).holding()
    await client.aclose()
