"""Variables at the failing line: what is shown of them, and that showing them runs nothing of the program."""

from __future__ import annotations

import pytest

from agent.sandbox.pool import WorkerPool
from agent.sandbox.program import variables
from memory.records import AssertTest, CodeTest, Fault, Limits, Outcome

pytestmark = pytest.mark.asyncio(loop_scope="session")

HOSTILE = """
class Loops:
    def __repr__(self):
        while True: pass
    __str__ = __len__ = __iter__ = __bool__ = __hash__ = __eq__ = __repr__
    def __getattribute__(self, name):
        while True: pass

class Raises(list):
    def __repr__(self): raise ValueError('no')
    def __iter__(self): raise ValueError('no')
    def __len__(self): raise SystemExit(0)

class Meta(type):
    __name__ = property(lambda kind: 1 / 0)
    __module__ = property(lambda kind: 1 / 0)

class Odd(metaclass=Meta):
    pass

def f(n):
    loops, raises, odd = Loops(), Raises([1, 2]), Odd()
    cycle = [n]; cycle.append(cycle)
    huge = 10 ** 100000
    text = 'x' * 10_000_000
    million = list(range(1_000_000))
    return n / 0
"""


async def fault(pool: WorkerPool, code: str, prelude: str = "") -> Fault:
    limits = Limits(cpu_seconds_per_test=2.0)
    verdict = await pool.run(code, [AssertTest(source="assert f(3) == 1")], prelude=prelude, limits=limits)
    assert verdict.outcome is Outcome.RUNTIME_ERROR
    assert verdict.error is not None
    return verdict.error


async def test_variables_of_the_innermost_frame_only(pool: WorkerPool) -> None:
    code = "import math\ndef g(a, b):\n    c = a + b\n    helper = math.floor\n    return c / (a - b)\ndef f(outer):\n    return g(outer, outer)\n"
    error = await fault(pool, code)
    assert error.line == 5
    assert error.variables == (("a", "3"), ("b", "3"), ("c", "6"))


async def test_names_of_the_failing_statement_come_first(pool: WorkerPool) -> None:
    names = [f"v{number}" for number in range(40)]
    error = await fault(pool, "def f(x):\n    " + " = ".join(names) + " = x\n    return v39 / (v38 - x)\n")
    assert len(error.variables) == variables.MAX_VARIABLES
    assert [name for name, _ in error.variables][:3] == ["x", "v38", "v39"]


async def test_module_level_without_prelude_modules_and_definitions(pool: WorkerPool) -> None:
    code = "import os\nfrom typing import List\nclass A: pass\ndef f(x): pass\nitems = [1, A()]\ntotal = items[5]\n"
    error = await fault(pool, code, prelude="given = 5\nimport math\n")
    assert error.variables == (("items", "[1, <A object>]"),)


async def test_objects_show_their_attributes(pool: WorkerPool) -> None:
    code = "class Node:\n    def __init__(self, v, next=None): self.v, self.next = v, next\ndef f(x):\n    node = Node(1, Node({'a': (1,)}))\n    return node.next.next.v\n"
    error = await fault(pool, code)
    assert dict(error.variables)["node"] == "<Node v=1, next=<Node v={'a': (1,)}, next=None>>"


async def test_hostile_values_cost_nothing(pool: WorkerPool) -> None:
    error = await fault(pool, HOSTILE)
    assert error.type == "ZeroDivisionError"
    shown = dict(error.variables)
    assert shown["n"] == "3"
    assert shown["loops"] == "<Loops object>"
    assert shown["raises"] == "Raises([1, 2])"
    assert shown["odd"] == "<Odd object>"
    assert shown["cycle"] == "[3, [3, [3, [3, ...]]]]"
    assert shown["huge"] == "<int of 332193 bits>"
    assert shown["million"] == "[0, 1, 2, 3, 4, 5, 6, 7, ... 1000000 in all]"
    assert all(len(text) <= variables.MAX_TEXT for text in shown.values())


async def test_a_judged_test_tells_them_too_and_a_wrong_value_has_none(pool: WorkerPool) -> None:
    check = CodeTest(source="def check(c):\n    assert c(0) == 1\n", runner="check")
    verdict = await pool.run("def f(x):\n    y = [x]\n    return y[1]\n", [check], entry_point="f")
    assert verdict.error is not None
    assert verdict.error.variables == (("y", "[0]"), ("x", "0"))
    verdict = await pool.run("def f(x):\n    return x\n", [check], entry_point="f")
    assert verdict.error is not None
    assert verdict.error.variables == ()
