"""How fast the engine of a small machine is with scheduler and model in one process, beside two.

    .venv/bin/python -m tests.bench.engine_processes [--data-dir D] [--streams 8 32] [--rounds 3]

starts the managed engine with each layout in turn and asks for one wide call per number of streams. `two processes` is
vLLM's own layout; its scheduler waits in a loop, so the model gets one thread less than there are cores.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import platformdirs

from server.engine.library import LocalModel
from server.engine.process import ManagedEngine
from server.engine.settings import EngineSettings
from server.engine.vllm import Launch, launch
from tests.bench.report import Row, publish
from tests.bench.sampling import rate

_MIN_P = {"min_p": 0.05}


def two_processes(model: LocalModel, settings: EngineSettings, port: int) -> Launch:
    """vLLM's own layout."""
    plan = launch(model, settings, port)
    threads = str(max(1, len(os.sched_getaffinity(0)) - 1))
    return replace(plan, env={**plan.env, "VLLM_ENABLE_V1_MULTIPROCESSING": "1", "OMP_NUM_THREADS": threads})


LAYOUTS: dict[str, Callable[[LocalModel, EngineSettings, int], Launch]] = {
    "two processes": two_processes,
    "one process": launch,
}


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=platformdirs.user_data_path("burnish"))
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    rows: list[Row] = []
    for name, layout in LAYOUTS.items():
        engine = ManagedEngine(EngineSettings(), given.data_dir, launch_for=layout)
        await engine.start()
        try:
            model = await engine.wait_ready()
            row: dict[str, object] = {"layout": name}
            for streams in given.streams:
                rates = [
                    await asyncio.to_thread(rate, engine.url, model.name, streams, _MIN_P)
                    for _ in range(given.rounds + 1)  # the first round warms up
                ]
                row[f"tokens/s, {streams} streams"] = round(median(rates[1:]))
            rows.append(row)
        finally:
            await engine.stop()
    publish("tests.bench.engine_processes", rows)


if __name__ == "__main__":
    asyncio.run(main())
