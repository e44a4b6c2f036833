"""One real vLLM with the smallest model, started once per test session and managed as in production.

In a conftest.py: `from tests.real_engine import real_engine`; mark tests that use it with `@pytest.mark.engine`. The
model is kept in BURNISH_TEST_MODELS (a folder that holds `models`-like entries), by default where `burnish` keeps its
own, and downloaded on first use.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import platformdirs
import pytest

from server.engine.library import LocalModel, ensure_model
from server.engine.process import ManagedEngine
from server.engine.settings import SMALL_MODEL, EngineSettings
from server.engine.sources import Report

T = TypeVar("T")

START_S = 900
"""Download, conversion and start on a slow machine."""


@dataclass(frozen=True)
class RealEngine:
    """A running engine. `managed` lives on an event loop of its own thread: reach its coroutines with `call`."""

    url: str
    model: LocalModel
    managed: ManagedEngine
    loop: asyncio.AbstractEventLoop

    def call(self, work: Coroutine[Any, Any, T], timeout_s: float = START_S) -> T:
        """Run a coroutine of `managed` from any thread and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout_s)


def model_library() -> Path:
    """Where the models of tests are kept."""
    return Path(os.environ.get("BURNISH_TEST_MODELS") or platformdirs.user_data_path("burnish") / "models")


@pytest.fixture(scope="session")
def real_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealEngine]:
    """The session's engine, ready for requests."""
    models = model_library()

    def from_cache(settings: EngineSettings, models_dir: Path, report: Report) -> LocalModel:
        return ensure_model(settings.model, models, settings.interpreter(), report)

    settings = EngineSettings(model=SMALL_MODEL, kv_cache_gib=1)
    managed = ManagedEngine(settings, tmp_path_factory.mktemp("engine"), get_model=from_cache)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="real-engine")
    thread.start()
    try:

        async def up() -> LocalModel:
            await managed.start()
            return await managed.wait_ready()

        model = asyncio.run_coroutine_threadsafe(up(), loop).result(START_S)
        yield RealEngine(managed.url, model, managed, loop)
    finally:
        asyncio.run_coroutine_threadsafe(managed.stop(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
