"""The real application with its real sandbox, over a scripted engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from openai import AsyncOpenAI

from server.app import create_app
from server.parts import Parts
from server.settings import Settings, load_settings
from tests.scripted_engine import ScriptedEngine, serving

RIGHT = "Sure:\n```python\ndef add(a, b):\n    return a + b\n```\n"
WRONG = "Sure:\n```python\ndef add(a, b):\n    return a - b\n```\n"
ASK = "Write a Python function add(a, b).\n\nassert add(1, 1) == 2\nassert add(2, 3) == 5\n"


@dataclass
class Running:
    """A server under test."""

    url: str
    engine: ScriptedEngine
    app: FastAPI

    @property
    def parts(self) -> Parts:
        parts: Parts = self.app.state.parts
        return parts

    @property
    def http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, timeout=30, trust_env=False)

    @property
    def openai(self) -> AsyncOpenAI:
        return AsyncOpenAI(base_url=f"{self.url}/v1", api_key="any", max_retries=0)

    async def chat(self, **body: Any) -> httpx.Response:
        """One request with sensible defaults."""
        async with self.http as http:
            return await http.post(
                "/v1/chat/completions",
                json={"model": "burnish", "messages": [{"role": "user", "content": ASK}], **body},
            )


def settings_for(tmp_path: Path, engine_url: str, **more: Any) -> Settings:
    """Without memory, unless a test is about it: it would answer what the engine is to be asked."""
    own = {"data_dir": tmp_path, "engine": {"url": engine_url}, "sandbox": {"workers": 2}, "memory": {"enabled": False}}
    return load_settings({**own, **more})


@asynccontextmanager
async def running(tmp_path: Path, engine: ScriptedEngine, **more: Any) -> AsyncIterator[Running]:
    async with serving(engine.app()) as engine_url:
        app = create_app(settings_for(tmp_path, engine_url, **more))
        async with serving(app) as url:
            yield Running(url, engine, app)


@pytest.fixture(scope="session")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """One server for every test that only changes what its engine says."""
    async with running(tmp_path_factory.mktemp("server"), ScriptedEngine()) as server:
        yield server


@pytest.fixture
async def server(shared: Running) -> Running:
    """The shared server with an engine that answers rightly at once."""
    fresh = ScriptedEngine(reply=lambda body, index: RIGHT)
    vars(shared.engine).update(vars(fresh))
    return shared
