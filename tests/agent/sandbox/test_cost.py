"""What makes a run cheap: where it runs, and memory that is copied before it is written to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.sandbox.pool import WorkerPool
from memory.records import CallTest
from tests.agent.sandbox.test_pages import may_pin

pytestmark = pytest.mark.asyncio(loop_scope="session")

_SYS_NICE = 1 << 23

PROGRAM = """
import os, resource, sys, time

def cores():
    return len(os.sched_getaffinity(0))

def cores_later():
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    return cores()

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def faults_of_names(count):
    before = faults()
    names = [sys.intern(f"a new name {number}") for number in range(count)]
    return faults() - before
"""


def may_move_others() -> bool:
    """Whether this process may say where those of the sandbox run, who are other users where it is root."""
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    return os.geteuid() != 0 or bool(int(status["CapEff"], 16) & _SYS_NICE)


async def test_a_short_run_stays_on_one_core_and_a_long_one_does_not(pool: WorkerPool) -> None:
    if not may_move_others():
        pytest.skip("root without CAP_SYS_NICE: runs are not kept on a core")

    verdict = await pool.run(
        PROGRAM,
        [
            CallTest(call="cores()", expected="1"),
            CallTest(call="cores_later()", expected=str(len(os.sched_getaffinity(0)))),
        ],
    )

    assert [case.message for case in verdict.cases] == [None, None]


async def test_few_pages_are_copied_at_a_fault(pool: WorkerPool) -> None:
    if not may_pin():
        pytest.skip("this process may not use io_uring")

    verdict = await pool.run(PROGRAM, [CallTest(call="faults()", expected="None")])

    assert 30 < int(verdict.cases[0].actual or "0") < 350


async def test_new_names_cost_no_copy_of_all_names(pool: WorkerPool) -> None:
    verdict = await pool.run(PROGRAM, [CallTest(call="faults_of_names(200)", expected="None")])

    assert int(verdict.cases[0].actual or "100") < 50
