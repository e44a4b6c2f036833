"""What tests of the sandbox share: one pool (those that damage it start their own), and /proc."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from agent.sandbox.pool import WorkerPool
from agent.settings import SandboxSettings


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def pool() -> AsyncIterator[WorkerPool]:
    async with await WorkerPool.start(SandboxSettings(workers=2)) as started:
        yield started


@pytest.fixture
def procfs() -> Iterator[int]:
    """A descriptor of /proc."""
    fd = os.open("/proc", os.O_PATH)
    yield fd
    os.close(fd)
