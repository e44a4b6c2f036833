"""Who a program is, and whether it may start processes; what it cannot reach is in tests/hostile."""

from __future__ import annotations

import pytest

from agent.sandbox.pool import WorkerPool
from memory.records import CallTest, Limits, Outcome

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_identity(pool: WorkerPool) -> None:
    code = "import os\ndef f(): return os.getpid(), os.getppid(), 0 in (os.getuid(), os.geteuid(), os.getgid()), os.getgroups()\n"
    verdict = await pool.run(code, [CallTest(call="f()", expected="0")])
    pid, parent, is_root, groups = eval(verdict.cases[0].actual or "")
    assert (pid, parent, is_root) == (1, 0, False)
    assert groups in ([], [65534])


async def test_processes_only_on_request(pool: WorkerPool) -> None:
    code = (
        "import subprocess, sys\n"
        "def f(): return subprocess.run([sys.executable, '-c', 'print(6 * 7)'], capture_output=True, text=True).stdout\n"
    )
    tests = [CallTest(call="f()", expected="'42\\n'")]
    assert (await pool.run(code, tests)).outcome is Outcome.RUNTIME_ERROR
    allowed = await pool.run(code, tests, limits=Limits(processes=True))
    assert allowed.outcome is Outcome.PASSED, allowed.error
