"""What each test executed, and the statements over all of them."""

from __future__ import annotations

import pytest

from agent.sandbox.pool import WorkerPool
from memory.records import AssertTest, CodeTest, Limits, Outcome, StdioTest

pytestmark = pytest.mark.asyncio(loop_scope="session")

CODE = "def f(x):\n    if x == 1:\n        return 10\n    if x == 2: return 20\n    y = 30\n    return y\n"
LINES = [(2, 3), (2, 4), (2, 4, 5, 6)]
ALL = (1, 2, 3, 4, 5, 6)


async def test_literal_tests(pool: WorkerPool) -> None:
    tests = [AssertTest(source=f"assert f({x}) == {x}0") for x in (1, 2, 3)]
    verdict = await pool.run(CODE, tests)
    assert verdict.outcome is Outcome.PASSED
    assert [case.executed_lines for case in verdict.cases] == LINES
    assert verdict.executed_lines == ALL


@pytest.mark.parametrize("in_process", [False, True])
async def test_test_code(pool: WorkerPool, in_process: bool) -> None:
    source = (
        "def check(c):\n    assert c(1) == 10\n    assert c(2) == 20\n    assert c(3) == 30\n    assert c(1) == 10\n"
    )
    check = CodeTest(source=source, runner="check", in_process=in_process)
    verdict = await pool.run(CODE, [check], entry_point="f")
    assert verdict.outcome is Outcome.PASSED, verdict
    assert [case.executed_lines for case in verdict.cases] == [*LINES, LINES[0]]
    assert verdict.executed_lines == ALL


async def test_statements_that_share_a_line_are_kept_apart(pool: WorkerPool) -> None:
    verdict = await pool.run(CODE, [AssertTest(source="assert f(3) == 30")])
    assert (4, 4, 4, 13) in verdict.executed
    assert (4, 15, 4, 24) not in verdict.executed
    assert verdict.executed_lines == (1, 2, 4, 5, 6)


async def test_a_test_that_is_killed_or_raises_keeps_its_lines(pool: WorkerPool) -> None:
    code = "def f(x):\n    if x == 1:\n        while True: pass\n    if x == 2:\n        import os; os._exit(1)\n    return [][x]\n"
    tests = [AssertTest(source=f"assert f({x}) == 1") for x in (1, 2, 3)]
    check = CodeTest(
        source="def check(c):\n    assert c(1) == 1\n    assert c(2) == 1\n    assert c(3) == 1\n", runner="check"
    )
    limits = Limits(cpu_seconds_per_test=0.1, cpu_seconds=2.0)
    for given in (tests, [check]):
        verdict = await pool.run(code, given, limits=limits, entry_point="f")
        assert [case.outcome.value for case in verdict.cases] == ["timeout", "runtime_error", "runtime_error"]
        assert [case.executed_lines for case in verdict.cases] == [(2, 3), (2, 4, 5), (2, 4, 6)]


async def test_scripts(pool: WorkerPool) -> None:
    code = "n = int(input())\nif n:\n    print(n)\nelse:\n    print('zero')\n"
    verdict = await pool.run(code, [StdioTest(stdin="1", stdout="1"), StdioTest(stdin="0", stdout="zero")])
    assert verdict.outcome is Outcome.PASSED
    assert [case.executed_lines for case in verdict.cases] == [(1, 2, 3), (1, 2, 5)]


async def test_forged_hits_change_no_outcome(pool: WorkerPool) -> None:
    forge = "import sys\ndef f(x):\n    h = globals()['__burnish_hits__']\n    h[:] = b'\\x01' * len(h)\n    import os; os.pwrite(4, b'\\x01' * 70000, 0)\n    return 2\n    never = 1\n"
    verdict = await pool.run(forge, [AssertTest(source="assert f(1) == 1")])
    assert verdict.outcome is Outcome.FAILED_TEST
    assert max(verdict.executed_lines) == 7
    assert (await pool.run(CODE, [AssertTest(source="assert f(1) == 10")])).cases[0].executed_lines == (2, 3)
