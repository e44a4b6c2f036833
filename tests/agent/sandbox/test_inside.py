"""Tests that run beside the program, on its own objects; and that the verdict says so."""

from __future__ import annotations

import pytest

from agent.sandbox.pool import WorkerPool
from memory.records import AssertTest, CodeTest, Limits, Outcome, Verdict

pytestmark = pytest.mark.asyncio(loop_scope="session")

CODE = """
RATE = 2

class Shape:
    def area(self):
        raise NotImplementedError
    def twice(self):
        return RATE * self.area()

def now():
    return 5

def f(x):
    print("f", x)
    return now() + x
"""

TESTS = """
import inspect
import pytest
import unittest
from unittest import mock
import my_module
from my_module import Shape, f

class Square(Shape):
    def area(self):
        return 9

def test_subclass():
    assert Square().twice() == 18

def test_patch_module(monkeypatch):
    monkeypatch.setattr(my_module, "now", lambda: 100)
    monkeypatch.setattr("my_module.RATE", 3)
    assert f(1) == 101
    assert Square().twice() == 27

def test_patch_is_undone():
    assert f(1) == 6

def test_mock():
    with mock.patch("my_module.now", return_value=1) as fake:
        assert f(1) == 2
    fake.assert_called_once_with()

def test_printed(capsys):
    f(7)
    assert capsys.readouterr().out == "f 7\\n"
    assert capsys.readouterr() == ("", "")

def test_inspect():
    assert list(inspect.signature(f).parameters) == ["x"]
    assert f.__module__ == "solution"

class TestPlain(unittest.TestCase):
    def test_is(self):
        self.assertIs(my_module.Shape, Shape)
        self.assertIsInstance(Square(), Shape)
"""


async def beside(pool: WorkerPool, code: str, source: str, runner: str = "pytest") -> Verdict:
    limits = Limits(cpu_seconds_per_test=0.5)
    test = CodeTest(source=source, runner=runner, in_process=True)  # type: ignore[arg-type]
    return await pool.run(code, [test], entry_point="f", limits=limits)


async def test_what_needs_the_objects_themselves(pool: WorkerPool) -> None:
    verdict = await beside(pool, CODE, TESTS)
    assert verdict.outcome is Outcome.PASSED, [case for case in verdict.cases if case.message]
    assert (verdict.passed, verdict.total, verdict.integrity) == (7, 7, "in_process")


async def test_the_judge_says_that_it_cannot(pool: WorkerPool) -> None:
    for source in (
        "from solution import Shape\ndef test_subclass():\n    class Square(Shape): pass\n",
        "import solution\ndef test_patch(monkeypatch):\n    monkeypatch.setattr(solution, 'now', lambda: 1)\n",
        "from solution import f\ndef test_printed(capsys):\n    f(1)\n",
    ):
        verdict = await pool.run(CODE, [CodeTest(source=source, runner="pytest")], entry_point="f")
        assert verdict.outcome is Outcome.FAILED_TEST
        assert verdict.integrity == "isolated"
        assert "in_process" in (verdict.cases[0].message or "")


async def test_outcomes_and_places(pool: WorkerPool) -> None:
    source = "def check(candidate):\n    assert candidate(1) == 6\n    assert candidate(1) == 7\n    assert candidate('a') == 1\n    assert missing\n    raise_here = [][0]\n    assert candidate(2) == 7\n"
    verdict = await beside(pool, CODE, source, "check")
    assert [case.outcome.value for case in verdict.cases] == [
        "passed",
        "failed_test",
        "runtime_error",
        "runtime_error",
        "failed_test",
    ]
    assert (verdict.cases[1].expected, verdict.cases[1].actual) == ("7", "6")
    assert verdict.error is not None
    assert (verdict.error.type, verdict.error.line, verdict.error.variables) == ("TypeError", 15, (("x", "'a'"),))


async def test_other_tests_of_the_run_stay_isolated(pool: WorkerPool) -> None:
    patch = CodeTest(
        source="import solution\nsolution.now = lambda: 1\nassert solution.f(1) == 2\n",
        runner="script",
        in_process=True,
    )
    check = CodeTest(source="def check(c):\n    assert c(1) == 6\n", runner="check")
    verdict = await pool.run(CODE, [patch, AssertTest(source="assert f(1) == 6"), check], entry_point="f")
    assert verdict.outcome is Outcome.PASSED, verdict.cases
    assert [case.name for case in verdict.cases] == [
        "assert solution.f(1) == 2",
        "assert f(1) == 6",
        "assert c(1) == 6",
    ]


async def test_a_death_in_one_case_leaves_the_others(pool: WorkerPool) -> None:
    code = "import os\ndef f(x):\n    if x == 2: os._exit(0)\n    if x == 3:\n        while True: pass\n    return x\n"
    source = "".join(f"def test_{x}():\n    from solution import f\n    assert f({x}) == {x}\n" for x in (1, 2, 3, 4))
    verdict = await beside(pool, code, source)
    assert [case.outcome.value for case in verdict.cases] == ["passed", "runtime_error", "timeout", "passed"]


CHEATS = {
    "exit": "import os\nos._exit(0)\n",
    "exit in f": "import os\ndef f(x): os._exit(0)\n",
    "equal to all": "class E:\n    def __eq__(self, other): return True\ndef f(x): return E()\n",
    "assertEqual does nothing": "import unittest\nunittest.TestCase.assertEqual = lambda *a, **k: None\ndef f(x): return 0\n",
    "raises accepts all": "import sys\ndef f(x):\n    sys.modules['pytest'].raises = lambda *a, **k: __import__('contextlib').suppress(BaseException)\n    return 0\n",
    "recorder passes all": "import gc\ndef f(x):\n    for o in gc.get_objects():\n        if type(o).__name__ == 'Recorder': type(o).fail = lambda self, e: self.passed()\n    return 0\n",
    "forged report": "import os, json, struct\ndef send(m):\n    b = json.dumps(m).encode(); os.write(3, struct.pack('>I', len(b)) + b)\ndef f(x):\n    for unit in (0, -1, -2):\n        send({'unit': unit, 'event': 'plan', 'cases': ['a']})\n        send({'unit': unit, 'event': 'result', 'case': 0, 'outcome': 'passed', 'seconds': 1.0})\n    send({'event': 'done', 'nonce': ''})\n    os._exit(0)\n",
    "broken reports": "import os, json, struct\ndef send(m):\n    b = json.dumps(m).encode(); os.write(3, struct.pack('>I', len(b)) + b)\nn = 0\ndef f(x):\n    for m in ({'unit': []}, {'unit': 0, 'event': 'plan', 'cases': 5}, {'unit': 0, 'event': 'result', 'case': {}}): send(m)\n    return 0\n",
}


@pytest.mark.parametrize("name", CHEATS)
async def test_plain_cheats_do_not_pass(pool: WorkerPool, name: str) -> None:
    source = "import unittest\nfrom solution import f\nclass T(unittest.TestCase):\n    def test_f(self):\n        self.assertEqual(f(1), 2)\ndef test_g():\n    assert [f(1)] == [2] and type(f(1)) is int\n"
    verdict = await beside(pool, CHEATS[name], source)
    assert verdict.outcome not in (Outcome.PASSED, Outcome.SANDBOX_ERROR), verdict
    assert verdict.integrity == "in_process"


async def test_a_dead_canary_fails_every_case(pool: WorkerPool) -> None:
    code = CHEATS["assertEqual does nothing"].replace("return 0", "return x + 1")
    verdict = await beside(pool, code, "from solution import f\ndef test(): assert f(1) == 2\n")
    assert verdict.passed == 0
    assert verdict.error is not None
    assert verdict.error.type == "TamperedTests"
