from __future__ import annotations

import pytest

from agent.sandbox.pool import WorkerPool
from agent.sandbox.selfcheck import selfcheck

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_battery(pool: WorkerPool) -> None:
    checks = await selfcheck(pool)
    assert [(check.name, check.actual, check.detail) for check in checks if not check.ok] == []
