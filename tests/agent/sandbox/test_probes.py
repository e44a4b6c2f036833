"""Questions without an expectation: the answer is noted."""

from __future__ import annotations

import pytest

from agent.errors import BadTests
from agent.sandbox import fingerprint
from agent.sandbox.pool import WorkerPool
from memory.records import AssertTest, Limits, Outcome, ProbeTest, Test

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_answers_are_noted_and_crashes_are_told(pool: WorkerPool) -> None:
    code = "def f(x):\n    if x == 3:\n        while True: pass\n    return {'b': 10 / x, 'a': {x, 'é'}}\n"
    probes = [ProbeTest(call=f"f({x})") for x in (1, 0, 2, 3, 4)]
    verdict = await pool.run(code, probes, entry_point="f", limits=Limits(cpu_seconds_per_test=0.3, cpu_seconds=3))
    assert [case.actual for case in verdict.cases] == [
        "{'a': {'é', 1}, 'b': 10}", None, "{'a': {'é', 2}, 'b': 5}", None, "{'a': {'é', 4}, 'b': 2.5}",
    ]  # fmt: skip
    kinds = [case.outcome for case in verdict.cases]
    assert kinds[1] is Outcome.RUNTIME_ERROR and kinds[3] is Outcome.TIMEOUT
    assert kinds[0] is kinds[2] is kinds[4] is Outcome.PASSED


async def test_what_a_program_prints_is_noted(pool: WorkerPool) -> None:
    verdict = await pool.run("print(int(input()) * 2, ' ')\n\n", [ProbeTest(stdin="21\n"), ProbeTest(stdin="x")])
    assert verdict.cases[0].actual == "42" and verdict.cases[0].outcome is Outcome.PASSED
    assert verdict.cases[1].outcome is Outcome.RUNTIME_ERROR


async def test_probes_stand_beside_tests(pool: WorkerPool) -> None:
    tests: list[Test] = [
        AssertTest(source="assert f(1) == 2"),
        ProbeTest(call="f(2)"),
        AssertTest(source="assert f(1) == 3"),
    ]
    verdict = await pool.run("def f(x): return x + 1", tests, entry_point="f")
    assert [case.outcome for case in verdict.cases] == [Outcome.PASSED, Outcome.PASSED, Outcome.FAILED_TEST]
    assert verdict.cases[1].actual == "3"


@pytest.mark.parametrize("call", ["f(g(1))", "f(x)", "print(1)", "1 + 1", "f("])
async def test_only_literal_calls_are_probes(pool: WorkerPool, call: str) -> None:
    with pytest.raises(BadTests):
        await pool.run("def f(x): return x", [ProbeTest(call=call)], entry_point="f")


async def test_equal_answers_have_equal_texts() -> None:
    pairs: list[tuple[object, object]] = [
        (1, 1.0), (True, 1), ({2, 1}, {1, 2}), ({"a": 1, "b": 2}, {"b": 2, "a": 1}), (0.1 + 0.2, 0.3), ([1], [True]),
    ]  # fmt: skip
    assert all(fingerprint.of_value(one) == fingerprint.of_value(other) for one, other in pairs)
    differ: list[tuple[object, object]] = [
        ([1], (1,)), ("1", 1), ([1, 2], [2, 1]), (None, 0), ("a" * 900 + "b", "a" * 900 + "c"), (1e30, 1e31), ([], {}),
    ]  # fmt: skip
    assert all(fingerprint.of_value(one) != fingerprint.of_value(other) for one, other in differ)
    assert len(fingerprint.of_value("x" * 10_000)) < 300
    assert fingerprint.of_text("a \nb\n\n") == fingerprint.of_text("a\nb") != fingerprint.of_text("a\n b")
