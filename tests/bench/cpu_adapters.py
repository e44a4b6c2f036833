"""How fast the engine is on a CPU with adapters: our products of a batch's adapters beside vLLM's own.

    .venv/bin/python -m tests.bench.cpu_adapters [--data-dir D] [--streams 1 32] [--rounds 2]

starts the managed engine in turn as `burnish serve` does (`--worker-extension-cls`), without that, and without adapters
at all; asks for one wide call per number of streams, of the base model and of an adapter with random weights.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path

import httpx

from server.engine.library import LocalModel
from server.engine.settings import EngineSettings
from server.engine.vllm import Launch, launch
from tests.bench.layouts import Layout, median_rate, options, running
from tests.bench.report import Row, publish
from tests.random_versions import weights

_OURS = "--worker-extension-cls"
_ADAPTERS = "--enable-lora"
_NAME = "random"


def vllms_own(model: LocalModel, settings: EngineSettings, port: int) -> Launch:
    """As vLLM multiplies."""
    plan = launch(model, settings, port)
    at = list(plan.command).index(_OURS)
    return replace(plan, command=[*plan.command[:at], *plan.command[at + 2 :]])


def no_adapters(model: LocalModel, settings: EngineSettings, port: int) -> Launch:
    """An engine that can load none."""
    plan = vllms_own(model, settings, port)
    return replace(plan, command=[word for word in plan.command if word != _ADAPTERS])


LAYOUTS: dict[str, Layout] = {
    "ours": launch,
    "vLLM's own": vllms_own,
    "no adapters": no_adapters,
}


async def main() -> None:
    """Measure and print."""
    given = options(__doc__, streams=(1, 32), rounds=2).parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, layout in LAYOUTS.items():
            async with running(layout, given.data_dir) as (url, model):
                asked = {"base model": model.name}
                if layout is not no_adapters:
                    made = await asyncio.to_thread(weights, model.path, Path(folder), seed=0, scale=0.001)
                    await _load(url, made)
                    asked["adapter"] = _NAME
                row: dict[str, object] = {"products": name}
                for what in ("base model", "adapter"):
                    for streams in given.streams:
                        rate = await median_rate(url, asked[what], streams, given.rounds) if what in asked else "-"
                        row[f"{what}, {streams} streams"] = rate
                rows.append(row)
    publish("tests.bench.cpu_adapters", rows, notes=["Tokens per second."])


async def _load(url: str, folder: Path) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=300.0, trust_env=False) as http:
        body = {"lora_name": _NAME, "lora_path": str(folder)}
        (await http.post("/v1/load_lora_adapter", json=body)).raise_for_status()


if __name__ == "__main__":
    asyncio.run(main())
