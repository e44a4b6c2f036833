"""How fast the engine of a small machine is, by its processes and threads, alone and beside a busy neighbour.

    .venv/bin/python -m tests.bench.engine_processes [--data-dir D] [--streams 1 8 32] [--rounds 3]

starts the managed engine with each layout in turn and asks for one wide call per number of streams, first while nothing
else runs, then beside one process that computes all the time, as the sandbox does. `two processes` is vLLM's own
layout; its scheduler waits in a loop, so the model gets one thread less than there are cores. `sleeping`: threads that
wait for the others sleep at once (OMP_WAIT_POLICY=passive) instead of spinning.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from server.engine.library import LocalModel
from server.engine.settings import EngineSettings
from server.engine.vllm import Launch, launch
from tests.bench.layouts import Layout, median_rate, options, running
from tests.bench.report import Row, publish

_CORES = len(os.sched_getaffinity(0))
_FEWER = max(1, _CORES - 1)


def two_processes(model: LocalModel, settings: EngineSettings, port: int) -> Launch:
    """vLLM's own layout."""
    return _with(launch(model, settings, port), VLLM_ENABLE_V1_MULTIPROCESSING="1", OMP_NUM_THREADS=str(_FEWER))


def all_cores(model: LocalModel, settings: EngineSettings, port: int) -> Launch:
    """One process with a thread per core."""
    return _with(launch(model, settings, port), OMP_NUM_THREADS=str(_CORES))


def sleeping(model: LocalModel, settings: EngineSettings, port: int) -> Launch:
    """The same with threads that do not spin."""
    return _with(all_cores(model, settings, port), OMP_WAIT_POLICY="passive", GOMP_SPINCOUNT="0", KMP_BLOCKTIME="0")


def one_core_less(model: LocalModel, settings: EngineSettings, port: int) -> Launch:
    """One process that leaves a core free."""
    return _with(launch(model, settings, port), OMP_NUM_THREADS=str(_FEWER))


def _with(plan: Launch, **env: str) -> Launch:
    return replace(plan, env={**plan.env, **env})


LAYOUTS: dict[str, Layout] = {
    "two processes": two_processes,
    "one process": all_cores,
    "one process, sleeping": sleeping,
    "one process, one core less": one_core_less,
}


async def main() -> None:
    """Measure and print."""
    given = options(__doc__, streams=(1, 8, 32), rounds=3).parse_args()
    rows: list[Row] = []
    for name, layout in LAYOUTS.items():
        async with running(layout, given.data_dir) as (url, model):
            row: dict[str, object] = {"layout": name}
            for streams in given.streams:
                row[f"tokens/s, {streams} streams"] = await median_rate(url, model.name, streams, given.rounds)
                with _busy_neighbour():
                    beside = await median_rate(url, model.name, streams, given.rounds)
                row[f"{streams} streams, busy"] = beside
            rows.append(row)
    publish("tests.bench.engine_processes", rows)


@contextmanager
def _busy_neighbour() -> Iterator[None]:
    """A process that computes until the end."""
    neighbour = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        neighbour.kill()
        neighbour.wait()


if __name__ == "__main__":
    asyncio.run(main())
