"""Calls on their way to a program, and the end of a program that has answered them."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from agent.sandbox.calls import Calls
from agent.sandbox.channel import Closed
from agent.sandbox.pool import WorkerPool
from agent.sandbox.program.trace import SLOWDOWN
from agent.sandbox.wire.codec import Json
from memory.records import AssertTest, CallTest, CodeTest, Limits, Outcome, Test

pytestmark = pytest.mark.asyncio(loop_scope="session")

_LARGE = "a" * 1_000_000
_ECHO = "def f(x):\n    return x\n"


def texts(requests: list[dict[str, Json]]) -> list[str]:
    return [request["a"] for request in requests]


async def test_some_go_ahead_of_the_replies() -> None:
    calls = Calls([f"f({number})" for number in range(20)])
    first = calls.with_program()
    assert texts(first) == [f"f({number})" for number in range(16)]
    assert calls.next() == []
    for request in first:
        calls.check({"id": request["id"], "ok": {"v": 1}})
    assert not calls.are_answered
    rest = calls.next()
    assert texts(rest) == [f"f({number})" for number in range(16, 20)]
    for request in rest:
        calls.check({"id": request["id"], "err": {}})
    assert calls.are_answered
    assert calls.next() == []


async def test_a_large_call_does_not_travel_with_the_program() -> None:
    calls = Calls([f"f({_LARGE!r})", "f(2)"])
    assert calls.with_program() == []
    assert len(calls.next()) == 1


async def test_nothing_but_the_reply_to_the_oldest_call_counts() -> None:
    wrong_ones: list[dict[str, Json]] = [{"ok": {"v": 1}}, {"id": 1, "ok": {"v": 1}}, {"id": None, "err": {}}]
    for wrong in wrong_ones:
        calls = Calls(["f(1)", "f(2)"])
        calls.with_program()
        with pytest.raises(Closed):
            calls.check(wrong)
    calls = Calls(["f(1)", "f(2)"])
    _, second = calls.with_program()
    with pytest.raises(Closed):
        calls.check({"id": second["id"], "ok": {"v": 1}})
    calls = Calls(["f(1)"])
    (only,) = calls.with_program()
    with pytest.raises(Closed):
        calls.check({"id": only["id"], "names": []})


async def test_large_calls_and_many(pool: WorkerPool) -> None:
    tests: list[Test] = [CallTest(call=f"f({_LARGE!r})", expected=repr(_LARGE))]
    tests += [CallTest(call=f"f({number})", expected=str(number)) for number in range(40)]
    verdict = await pool.run(_ECHO, tests)
    assert [case.outcome for case in verdict.cases] == [Outcome.PASSED] * 41


async def test_a_program_that_hangs_before_large_calls_has_compiled(pool: WorkerPool) -> None:
    tests = [CallTest(call=f"f({_LARGE!r})", expected="1"), CallTest(call="f(1)", expected="1")]
    verdict = await pool.run("while True:\n    pass\n", tests, limits=Limits(cpu_seconds=0.2, cpu_seconds_per_test=0.2))
    assert [case.outcome for case in verdict.cases] == [Outcome.TIMEOUT, Outcome.TIMEOUT]
    assert verdict.error is not None
    assert verdict.error.line in (1, 2)


@pytest.mark.parametrize(
    "ending",
    ["import os\nos._exit = lambda status: stay()", "import os, sys\nos._exit = sys.exit",
     "import threading\nthreading.Thread(target=stay).start()", "import atexit\natexit.register(stay)",
     "import signal\nfor number in range(1, 32):\n    if number not in (9, 17, 19):\n"
     "        signal.signal(number, lambda *given: stay())"],
)  # fmt: skip
async def test_a_program_that_stays_when_all_is_answered(pool: WorkerPool, ending: str) -> None:
    code = f"import time\ndef stay():\n    while True:\n        time.sleep(1)\n{ending}\n{_ECHO}"
    for tests in ([AssertTest(source="assert f(1) == 1")], [CodeTest(source="assert [f(1)] == [1]", runner="script")]):
        verdict = await pool.run(code, tests, limits=Limits(cpu_seconds=5.0))
        assert verdict.outcome is Outcome.PASSED
        assert verdict.seconds < 5.0
    assert (await pool.run(_ECHO, [AssertTest(source="assert f(2) == 2")])).outcome is Outcome.PASSED


@pytest.mark.parametrize("code", ["import os\nos.pread = os.pwrite = None", "import os\nos.closerange(4, 64)"])
async def test_a_program_without_its_hits(pool: WorkerPool, code: str) -> None:
    for tests in ([AssertTest(source="assert f(1) == 1")], [CodeTest(source="assert [f(1)] == [1]", runner="script")]):
        assert (await pool.run(f"{code}\n{_ECHO}", tests)).outcome is Outcome.PASSED


async def test_what_a_stalled_server_does_not_see(pool: WorkerPool) -> None:
    """Loading and the first call may use their limit each, also where the server hears of both at once; and a call that
    exceeds it is the one that is blamed."""
    busy = "import time\ndef work(seconds):\n    end = time.process_time() + seconds\n    while time.process_time() < end: pass\n"
    limits = Limits(cpu_seconds_per_test=0.2, cpu_seconds=2.0)
    tests = [AssertTest(source=f"assert f({number}) == {number}") for number in (1, 2, 3)]
    used = 0.7 * 0.2 * SLOWDOWN
    both = f"{busy}work({used})\ndef f(x):\n    if x == 1: work({used})\n    return x\n"
    loops = f"{busy}def f(x):\n    while x == 1: pass\n    return x\n"
    for code, first in ((both, Outcome.PASSED), (loops, Outcome.TIMEOUT)):
        running = asyncio.create_task(pool.run(code, tests, limits=limits))
        await asyncio.sleep(0.02)
        time.sleep(4 * 0.2 * SLOWDOWN)  # noqa: ASYNC251
        assert [case.outcome for case in (await running).cases] == [first, Outcome.PASSED, Outcome.PASSED]


async def test_replies_told_while_loading_are_no_replies(pool: WorkerPool) -> None:
    forged = json.dumps({"id": 0, "ok": {"v": 1}})
    code = f"""\
import os, struct
def tell(text):
    os.write(3, struct.pack(">I", len(text)) + text.encode())
tell('{{"names": [], "hits": []}}')
tell('{forged}')
{_ECHO}"""
    verdict = await pool.run(code, [AssertTest(source="assert f(2) == 1")])
    assert verdict.outcome is Outcome.RUNTIME_ERROR
