"""One pool for all tests of the sandbox; tests that damage a pool start their own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from agent.sandbox.pool import WorkerPool
from agent.settings import SandboxSettings


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def pool() -> AsyncIterator[WorkerPool]:
    async with await WorkerPool.start(SandboxSettings(workers=2)) as started:
        yield started
