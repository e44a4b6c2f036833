"""`burnish doctor`: what this machine lacks, and what to do about it."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import typer

from agent.errors import EngineUnavailable, IsolationUnavailable
from agent.sandbox.native import toolchain
from agent.sandbox.native.language import Language
from agent.sandbox.pool import WorkerPool
from agent.sandbox.selfcheck import selfcheck
from agent.settings import SandboxSettings
from memory.errors import StoreUnavailable
from memory.trajectories import SqlTrajectoryStore
from server.cli.common import Json
from server.engine.client import EngineClient
from server.settings import Settings, load_settings

_ENGINE_GB, _MODEL_GB = 4.0, 2.5


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    name: str
    ok: bool
    detail: str


def doctor(as_json: Json = False) -> None:
    """Check Python, disk, processor, engine, sandbox and store. Exit status 1 if anything needed is missing."""
    findings = asyncio.run(_examine(load_settings()))
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings]))
    else:
        for finding in findings:
            print(f"{'ok  ' if finding.ok else 'FAIL'} {finding.name:<10} {finding.detail}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


async def _examine(settings: Settings) -> list[Finding]:
    return [
        Finding("python", sys.version_info >= (3, 11), f"{sys.version.split()[0]} at {sys.executable}"),
        _disk(settings.data_dir),
        _processor(),
        await _engine(settings),
        await _sandbox(settings),
        languages(settings.sandbox),
        await _store(settings),
    ]


def _disk(data_dir: Path) -> Finding:
    existing = next(folder for folder in (data_dir, *data_dir.parents) if folder.exists())
    free = shutil.disk_usage(existing).free / 1e9
    return Finding(
        "disk", free > _ENGINE_GB + _MODEL_GB, f"{free:.0f} GB free at {data_dir}; engine and model need 7 GB"
    )


def _processor() -> Finding:
    if shutil.which("nvidia-smi"):
        return Finding("processor", True, "an NVIDIA driver is present: the engine is vLLM for CUDA")
    info = Path("/proc/cpuinfo")
    flags = info.read_text() if info.exists() else ""
    if "avx512_bf16" in flags or "amx_bf16" in flags:
        return Finding("processor", True, "no GPU; the CPU has bf16 instructions")
    return Finding("processor", True, "no GPU, and the CPU has no bf16 instructions: expect a few tokens a second")


async def _engine(settings: Settings) -> Finding:
    if settings.engine.url is None:
        python = settings.engine.interpreter()
        if python.exists():
            return Finding("engine", True, f"managed, by {python}")
        return Finding("engine", False, f"{python} does not exist; run `make setup`, or give --engine-url")
    key = settings.engine.api_key
    client = EngineClient(settings.engine.url, key.get_secret_value() if key else None)
    try:
        listed = await client.models()
    except EngineUnavailable as error:
        return Finding("engine", False, str(error))
    finally:
        await client.aclose()
    return Finding("engine", True, f"{client.url} serves {', '.join(model.name for model in listed)}")


async def _sandbox(settings: Settings) -> Finding:
    try:
        pool = await WorkerPool.start(settings.sandbox)
    except IsolationUnavailable as error:
        return Finding("sandbox", False, "; ".join(error.missing))
    try:
        checks = await selfcheck(pool)
    finally:
        await pool.aclose()
    failed = [check for check in checks if not check.ok]
    if failed:
        return Finding("sandbox", False, "; ".join(f"{check.name}: {check.detail}" for check in failed))
    tier = f"tier {pool.isolation.tier}; {len(checks)} self-checks pass"
    better = pool.isolation.missing
    return Finding("sandbox", True, f"{tier}; for tier A: {'; '.join(better)}" if better else tier)


def languages(settings: SandboxSettings) -> Finding:
    """What programs can be written in; only Python is needed."""
    told = [f"python {sys.version.split()[0]}"]
    for language in Language:
        if language is not Language.PYTHON:
            try:
                found = toolchain.find(language, settings)
                told.append(f"{language} ({found.name} {found.version})")
            except toolchain.NoToolchain as error:
                told.append(f"no {language}: {error}")
    return Finding("languages", True, "; ".join(told))


async def _store(settings: Settings) -> Finding:
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        store = await SqlTrajectoryStore.open(settings.store.url or settings.data_dir / "trajectories.sqlite")
        await store.aclose()
    except (StoreUnavailable, OSError) as error:
        return Finding("store", False, str(error))
    return Finding("store", True, settings.store.url or str(settings.data_dir / "trajectories.sqlite"))
