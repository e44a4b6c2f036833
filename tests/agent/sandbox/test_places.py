"""Lines, spans and executed lines."""

from __future__ import annotations

import pytest

from agent.sandbox.pool import WorkerPool
from agent.sandbox.program import trace
from memory.records import AssertTest, CodeTest, Limits, Outcome

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def blamed(pool: WorkerPool, code: str) -> tuple[int | None, str]:
    """Line of the fault and the text of its span."""
    verdict = await pool.run(code, [AssertTest(source="assert f(1) == 1")])
    assert verdict.error is not None
    span = verdict.error.span
    if span is None:
        return verdict.error.line, ""
    lines = code.split("\n")
    if span[0] == span[2]:
        return verdict.error.line, lines[span[0] - 1][span[1] : span[3]]
    middle = lines[span[0] : span[2] - 1]
    return verdict.error.line, "\n".join([lines[span[0] - 1][span[1] :], *middle, lines[span[2] - 1][: span[3]]])


@pytest.mark.parametrize(
    ("code", "line", "text"),
    [
        ("def f(x):\n    y = 1\n    return y / 0\n", 3, "return y / 0"),
        ("def f(x):\n    if [][0]:\n        pass\n", 2, "if [][0]"),
        ("def f(x):\n    for i in 1:\n        pass\n", 2, "for i in 1"),
        ("def f(x):\n    s = 'äöü'; return [][0]\n", 2, "return [][0]"),
        (
            "def f(x):\n    return max(\n        1,\n        'a',\n    )\n",
            2,
            "return max(\n        1,\n        'a',\n    )",
        ),
        ("def g(x):\n    raise ValueError('no')\ndef f(x):\n    return g(x)\n", 2, "raise ValueError('no')"),
        ("import json\ndef f(x):\n    return json.loads('{')\n", 3, "return json.loads('{')"),
        ("f = lambda x: [][0]\n", 1, "f = lambda x: [][0]"),
        ("def f(x):\n    return [y for y in [1] if y / 0]\n", 2, "return [y for y in [1] if y / 0]"),
        ("def f(x)\n    return 1\n", 1, " "),
        ("def f(x):\n    return 1 +\n", 2, " "),
        ("def f(x):\n    nonlocal y\n", 2, "nonlocal y"),
        ("x = 1 / 0\n", 1, "x = 1 / 0"),
    ],
)
async def test_blamed_statement(pool: WorkerPool, code: str, line: int, text: str) -> None:
    found_line, found_text = await blamed(pool, code)
    assert found_line == line
    if text != " ":
        assert found_text == text


async def test_fault_in_a_judged_test_points_into_the_program(pool: WorkerPool) -> None:
    check = CodeTest(source="def check(candidate):\n    assert candidate(1)[0] == 1", runner="check")
    verdict = await pool.run("def f(x):\n    return {}[x]\n", [check], entry_point="f")
    assert verdict.outcome is Outcome.RUNTIME_ERROR
    assert verdict.error is not None
    assert (verdict.error.type, verdict.error.message, verdict.error.line) == ("KeyError", "1", 2)
    assert "check" not in verdict.error.traceback


async def test_executed_lines(pool: WorkerPool) -> None:
    code = '''"""Docstring."""
from __future__ import annotations
import math

class A:
    """Docstring."""
    x = 1

    def used(self, n):
        """Docstring."""
        if n > 1:
            return (
                n
            )
        elif n == 1:
            return 5
        else:
            return 6

    def unused(self):
        return 1

def f(n):
    try:
        return A().used(n)
    finally:
        pass
'''
    verdict = await pool.run(code, [AssertTest(source="assert f(1) == 5")])
    assert verdict.outcome is Outcome.PASSED
    documented = {1, 2, 6, 10} if trace.MONITORING else set()
    assert set(verdict.executed_lines) - documented == {3, 5, 7, 9, 11, 15, 16, 20, 23, 24, 25, 27}
    assert not {12, 18, 21} & set(verdict.executed_lines)


async def test_executed_lines_survive_every_end(pool: WorkerPool) -> None:
    limits = Limits(cpu_seconds_per_test=0.1, cpu_seconds=0.1)
    for end in ("while True: pass", "import os; os._exit(3)", "import ctypes; ctypes.string_at(0)", "1 / 0"):
        code = f"def f(x):\n    x += 1\n    {end}\n    return 5\n"
        verdict = await pool.run(code, [AssertTest(source="assert f(1) == 1")], limits=limits)
        assert verdict.executed_lines == (1, 2, 3), end
