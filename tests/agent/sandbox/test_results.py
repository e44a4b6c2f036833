"""Values and ends that are hard to tell: what still crosses the wall, and as which outcome."""

from __future__ import annotations

import pytest

from agent.sandbox.pool import WorkerPool
from memory.records import AssertTest, CodeTest, Limits, Outcome

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("item", ["object()", "{}", "(len(kept),)", "'x' * 99 + str(len(kept))"])
@pytest.mark.parametrize("place", ["    kept = []\n", "    global kept\n    kept = []\n"])
async def test_memory_used_up_by_small_objects(pool: WorkerPool, item: str, place: str) -> None:
    code = f"def f(x):\n{place}    while True:\n        kept.append({item})\n"
    verdict = await pool.run(code, [AssertTest(source="assert f(1) == 1")], limits=Limits(memory_mb=32))
    assert verdict.outcome is Outcome.MEMORY_LIMIT, verdict.error
    assert verdict.error is not None
    assert verdict.error.line in (code.count("\n"), None), "without memory for a traceback there is no line"


async def test_a_result_that_cannot_travel_is_a_wrong_one(pool: WorkerPool) -> None:
    code = (
        "def f(x):\n    a = []\n    for _ in range(500): a = [a]\n    return a\ndef g(x):\n    return 'é' * 5_000_000\n"
    )
    for name in ("f", "g"):
        check = CodeTest(source="def check(c):\n    assert c(1) == 1\n", runner="check")
        verdict = await pool.run(code, [AssertTest(source=f"assert {name}(1) == 1"), check], entry_point=name)
        assert [case.outcome for case in verdict.cases] == [Outcome.FAILED_TEST, Outcome.FAILED_TEST], verdict.cases


async def test_an_exception_with_a_large_argument_is_told(pool: WorkerPool) -> None:
    code = "def f(x):\n    raise ValueError('x' * 50_000_000)\n"
    verdict = await pool.run(code, [AssertTest(source="assert f(1) == 1")])
    assert verdict.outcome is Outcome.RUNTIME_ERROR
    assert verdict.error is not None
    assert (verdict.error.type, verdict.error.line) == ("ValueError", 2)


async def test_a_byte_order_mark_is_no_error(pool: WorkerPool) -> None:
    verdict = await pool.run("\ufeffdef f(x):\n    return x\n", [AssertTest(source="assert f(1) == 1")])
    assert verdict.outcome is Outcome.PASSED


async def test_standard_classes_arrive_as_themselves(pool: WorkerPool) -> None:
    code = (
        "from collections import *\nfrom enum import IntEnum\nclass I(IntEnum):\n    ONE = 1\n"
        "def f(s): return Counter(s), defaultdict(list, a=[1]), OrderedDict(a=1, b=2), I.ONE\n"
        "class Seq:\n    def __getitem__(self, key): return (key.start, key.stop) if isinstance(key, slice) else key\n"
    )
    source = (
        "c, d, o, i = f('aab')\nassert c['z'] == 0 and c.most_common(1) == [('a', 2)]\nassert d['new'] == []\n"
        "o.move_to_end('a')\nassert list(o) == ['b', 'a']\nassert i + 1 == 2 and 1 + i == 2 and i < 2\n"
        "assert Seq()[1:2] == (1, 2)\n"
    )
    literal = [
        AssertTest(source="assert f('')[3] == 1"),
        AssertTest(source="assert f('') == ({}, {'a': [1]}, {'a': 1, 'b': 2}, 1)"),
    ]
    verdict = await pool.run(code, [CodeTest(source=source, runner="script"), *literal], entry_point="f")
    assert verdict.outcome is Outcome.PASSED, verdict.cases
