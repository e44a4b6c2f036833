"""`burnish execute`: programs and tests as JSON lines in, one verdict a line out, in input order."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from typing import Annotated

import typer

from agent.errors import IsolationUnavailable
from agent.sandbox.contract import Sandbox
from agent.sandbox.pool import WorkerPool
from agent.settings import SandboxSettings
from server.cli.common import CommandError
from server.errors import ApiError
from server.schemas.completion import verdict_wire
from server.schemas.execute import ExecuteRequest, parse_execute
from server.settings import load_settings

_AHEAD = 8
"""Lines in flight per worker: enough to keep workers busy, little enough to bound memory."""
_EX_CONFIG = 78


def execute(
    workers: Annotated[int, typer.Option(min=0, help="Worker processes; 0 is one per core.")] = 0,
) -> None:
    """Read JSON lines {"id", "code", "tests", "language"?, "entry_point"?, "limits"?} and print one verdict a line."""
    asyncio.run(_run(load_settings({"sandbox": {"workers": workers}} if workers else {}).sandbox))


async def _run(settings: SandboxSettings) -> None:
    try:
        pool = await WorkerPool.start(settings)
    except IsolationUnavailable as error:
        raise CommandError(f"{error}; `burnish doctor` tells more", status=_EX_CONFIG) from error
    try:
        async for line in _verdicts(pool, (settings.workers or os.cpu_count() or 1) * _AHEAD):
            print(line, flush=True)
    finally:
        await pool.aclose()


async def _verdicts(sandbox: Sandbox, ahead: int) -> AsyncIterator[str]:
    running: list[asyncio.Task[str]] = []
    number = 0
    try:
        while line := await asyncio.to_thread(sys.stdin.readline):
            number += 1
            if not line.strip():
                continue
            running.append(asyncio.create_task(_one(sandbox, _parse(line, number))))
            if len(running) >= ahead:
                yield await running.pop(0)
        while running:
            yield await running.pop(0)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _parse(line: str, number: int) -> ExecuteRequest:
    try:
        return parse_execute(json.loads(line))
    except ValueError as error:
        raise CommandError(f"line {number} is not JSON: {error}", status=2) from error
    except ApiError as error:
        raise CommandError(f"line {number}: {error.message}", status=2) from error


async def _one(sandbox: Sandbox, asked: ExecuteRequest) -> str:
    try:
        return json.dumps(verdict_wire(await asked.run(sandbox), details=asked.details))
    except ApiError as error:
        raise CommandError(f"program {asked.id!r}: {error.message}", status=2) from error
