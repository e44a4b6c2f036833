"""The managed engine started in different ways, one after the other, and how fast each is."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median

import platformdirs

from server.engine.library import LocalModel
from server.engine.process import ManagedEngine
from server.engine.settings import EngineSettings
from server.engine.vllm import Launch
from tests.bench.sampling import rate

Layout = Callable[[LocalModel, EngineSettings, int], Launch]
"""How an engine is started, as server.engine.vllm.launch says it."""
_MIN_P = {"min_p": 0.05}


def options(documentation: str | None, *, streams: Sequence[int], rounds: int) -> argparse.ArgumentParser:
    """--data-dir, --streams and --rounds with these defaults."""
    parser = argparse.ArgumentParser(description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=platformdirs.user_data_path("burnish"))
    parser.add_argument("--streams", type=int, nargs="+", default=list(streams))
    parser.add_argument("--rounds", type=int, default=rounds)
    return parser


@asynccontextmanager
async def running(layout: Layout, data_dir: Path) -> AsyncIterator[tuple[str, LocalModel]]:
    """An engine's address and its model, while it runs."""
    engine = ManagedEngine(EngineSettings(), data_dir, launch_for=layout)
    await engine.start()
    try:
        model = await engine.wait_ready()
        yield engine.url, model
    finally:
        await engine.stop()


async def median_rate(url: str, model: str, streams: int, rounds: int) -> int:
    """Tokens a second; the first round warms up."""
    rates = [await asyncio.to_thread(rate, url, model, streams, _MIN_P) for _ in range(rounds + 1)]
    return round(median(rates[1:]))
