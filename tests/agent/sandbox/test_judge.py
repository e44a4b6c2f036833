"""Test sources of every runner, cut into cases."""

from __future__ import annotations

import pytest

from agent.sandbox.pool import WorkerPool
from memory.records import CaseResult, CodeTest, Outcome, Verdict

pytestmark = pytest.mark.asyncio(loop_scope="session")

CODE = """
class Low(ValueError):
    pass

def add(a, b=0):
    return a + b

def fail(n):
    if n < 0:
        raise Low(f"{n} is low")
    return n

class Account:
    def __init__(self, balance):
        self.balance = balance

    def deposit(self, n):
        self.balance += n
"""


async def cases(pool: WorkerPool, source: str, runner: str, code: str = CODE) -> tuple[Verdict, dict[str, Outcome]]:
    verdict = await pool.run(code, [CodeTest(source=source, runner=runner)], entry_point="add")  # type: ignore[arg-type]
    return verdict, {case.name: case.outcome for case in verdict.cases}


async def test_check_runs_every_assert(pool: WorkerPool) -> None:
    source = (
        "METADATA = {}\ndef check(candidate):\n    import random\n    x = 5\n    assert candidate(1, 2) == 3, 'first'\n"
        "    assert candidate(1, x) == 7\n    for i in range(3):\n        assert candidate(i) == i\n    assert fail(-1) == 2\n"
        "    assert candidate(2) == 2\n"
    )
    verdict, found = await cases(pool, source, "check")
    assert list(found.values()) == [
        Outcome.PASSED, Outcome.FAILED_TEST, Outcome.PASSED, Outcome.RUNTIME_ERROR, Outcome.PASSED,
    ]  # fmt: skip
    assert verdict.outcome is Outcome.RUNTIME_ERROR
    failed: CaseResult = verdict.cases[1]
    assert (failed.expected, failed.actual) == ("7", "6")
    assert verdict.error is not None
    assert (verdict.error.type, verdict.error.message, verdict.error.line) == ("Low", "-1 is low", 10)


async def test_cases_are_counted_even_if_the_program_cannot_be_loaded(pool: WorkerPool) -> None:
    source = "def check(c):\n    assert c(1) == 1\n    assert c(2) == 2\n"
    for code in ("1 / 0", "def add(:", "import os; os._exit(0)"):
        verdict, _ = await cases(pool, source, "check", code)
        assert (verdict.passed, verdict.total) == (0, 2)


async def test_script(pool: WorkerPool) -> None:
    source = (
        "def helper():\n    assert add(1, 1) == 2\na = Account(5)\na.deposit(2)\nassert a.balance == 7\nhelper()\n"
        "try:\n    fail(-1)\n    assert False\nexcept Low as error:\n    assert 'low' in str(error)\nassert add('a', 'b') == 'ab'\n"
    )
    verdict, found = await cases(pool, source, "script")
    assert verdict.outcome is Outcome.PASSED, verdict.error
    assert len(found) == 4


async def test_setup_that_fails_ends_the_script(pool: WorkerPool) -> None:
    verdict, _ = await cases(pool, "assert add(1) == 1\nx = add(1, 'a')\nassert add(2) == 2\n", "script")
    assert [case.outcome for case in verdict.cases] == [Outcome.PASSED, Outcome.RUNTIME_ERROR]
    verdict, _ = await cases(pool, "x = [][0]\nassert add(2) == 2\n", "script")
    assert [case.outcome for case in verdict.cases] == [Outcome.FAILED_TEST]


async def test_pytest(pool: WorkerPool) -> None:
    source = """
import pytest
from my_module import add, fail, Account, Low
import my_module as m

@pytest.fixture
def account():
    made = Account(1)
    yield made
    made.deposit(1)

def test_plain():
    assert add(1, 2) == 3

def test_wrong():
    assert add(1, 2) == 4

@pytest.mark.parametrize("a, b, expected", [(1, 2, 3), (2, 2, 5), pytest.param(0, 0, 0, id="zero")])
def test_many(a, b, expected):
    assert m.add(a, b) == expected

def test_raises():
    with pytest.raises(ValueError, match="is low") as info:
        fail(-1)
    assert "low" in str(info.value)
    with pytest.raises(Low):
        fail(-2)

def test_raises_nothing():
    with pytest.raises(ValueError):
        fail(1)

def test_approx(account):
    assert add(0.1, 0.2) == pytest.approx(0.3)
    assert [add(0.1, 0.2)] == pytest.approx([0.3])
    assert account.balance == 1

@pytest.mark.slow
class TestAccount:
    def setup_method(self):
        self.account = Account(5)

    @pytest.mark.parametrize("n", [1, 2])
    def test_deposit(self, n):
        self.account.deposit(n)
        assert self.account.balance == 5 + n

@pytest.mark.skip(reason="not now")
def test_skipped():
    assert False

def test_program_raises():
    assert fail(-1) == 0

def test_uses_fixture_nobody_has(capsys):
    pass
"""
    verdict, found = await cases(pool, source, "pytest")
    assert found == {
        "test_plain": Outcome.PASSED,
        "test_wrong": Outcome.FAILED_TEST,
        "test_many[1-2-3]": Outcome.PASSED,
        "test_many[2-2-5]": Outcome.FAILED_TEST,
        "test_many[zero]": Outcome.PASSED,
        "test_raises": Outcome.PASSED,
        "test_raises_nothing": Outcome.FAILED_TEST,
        "test_approx": Outcome.PASSED,
        "TestAccount::test_deposit[1]": Outcome.PASSED,
        "TestAccount::test_deposit[2]": Outcome.PASSED,
        "test_program_raises": Outcome.RUNTIME_ERROR,
        "test_uses_fixture_nobody_has": Outcome.FAILED_TEST,
    }
    assert verdict.total == 12


async def test_unittest(pool: WorkerPool) -> None:
    source = """
import unittest
from solution import *

class TestAdd(unittest.TestCase):
    def setUp(self):
        self.account = Account(1)

    def test_equal(self):
        self.assertEqual(add(1, 2), 3)
        self.assertIsInstance(self.account, Account)

    def test_wrong(self):
        self.assertEqual(add(1, 2), 4)

    def test_raises(self):
        with self.assertRaises(Low):
            fail(-1)
        self.assertRaises(ValueError, fail, -1)

    def test_sub(self):
        for n in range(3):
            with self.subTest(n=n):
                self.assertLess(add(n), 2)

    def test_error(self):
        fail(-5)

    @unittest.skip("later")
    def test_later(self):
        self.fail()

if __name__ == "__main__":
    unittest.main()
"""
    _, found = await cases(pool, source, "unittest")
    assert found == {
        "TestAdd::test_equal": Outcome.PASSED,
        "TestAdd::test_error": Outcome.RUNTIME_ERROR,
        "TestAdd::test_raises": Outcome.PASSED,
        "TestAdd::test_sub": Outcome.FAILED_TEST,
        "TestAdd::test_wrong": Outcome.FAILED_TEST,
    }


async def test_import_of_a_missing_name(pool: WorkerPool) -> None:
    verdict, _ = await cases(pool, "from solution import missing\ndef test(): pass\n", "pytest")
    assert verdict.outcome is Outcome.RUNTIME_ERROR
    assert verdict.error is not None
    assert verdict.error.type == "NameError"


async def test_a_test_that_never_ends_is_a_timeout(pool: WorkerPool) -> None:
    from memory.records import Limits

    limits = Limits(cpu_seconds_per_test=0.2, cpu_seconds=1.0)
    source = "def test_a():\n    while True: pass\ndef test_b():\n    assert add(1) == 1\n"
    verdict = await pool.run(CODE, [CodeTest(source=source, runner="pytest")], limits=limits)
    assert [case.outcome for case in verdict.cases] == [Outcome.TIMEOUT, Outcome.PASSED]


async def test_program_that_ends_in_the_middle_leaves_the_other_cases(pool: WorkerPool) -> None:
    code = "import os\ndef add(n):\n    if n == 2: os._exit(0)\n    return n\n"
    source = "def check(c):\n    assert c(1) == 1\n    assert c(2) == 2\n    assert c(3) == 3\n"
    verdict, _ = await cases(pool, source, "check", code)
    assert [case.outcome for case in verdict.cases] == [Outcome.PASSED, Outcome.RUNTIME_ERROR, Outcome.PASSED]


async def test_asynchronous_tests_run(pool: WorkerPool) -> None:
    code = "async def add(a, b=0):\n    return a + b\n"
    source = """
import pytest
from solution import add

@pytest.fixture
async def one():
    yield await add(1)

async def test_right(one):
    assert await add(one, 1) == 2

async def test_wrong():
    assert await add(1, 1) == 3

class TestAdd:
    async def setup_method(self):
        self.two = await add(2)

    async def test_two(self):
        assert self.two == 2

def test_yields():
    yield
    assert False
"""
    _, found = await cases(pool, source, "pytest", code)
    assert found == {
        "test_right": Outcome.PASSED,
        "test_wrong": Outcome.FAILED_TEST,
        "TestAdd::test_two": Outcome.PASSED,
        "test_yields": Outcome.FAILED_TEST,
    }
    source = "async def check(candidate):\n    assert await candidate(1) == {}\n"
    for expected, outcome in ((1, Outcome.PASSED), (2, Outcome.FAILED_TEST)):
        verdict, _ = await cases(pool, source.format(expected), "check", code)
        assert verdict.outcome is outcome


async def test_asynchronous_tests_of_unittest(pool: WorkerPool) -> None:
    code = "async def add(a):\n    return a\n"
    source = """
import unittest
from solution import add

class Awaits(unittest.IsolatedAsyncioTestCase):
    async def test_right(self):
        self.assertEqual(await add(1), 1)

    async def test_wrong(self):
        self.assertEqual(await add(1), 2)

class DoesNot(unittest.TestCase):
    async def test(self):
        self.assertEqual(await add(1), 1)
"""
    _, found = await cases(pool, source, "unittest", code)
    assert found == {
        "Awaits::test_right": Outcome.PASSED,
        "Awaits::test_wrong": Outcome.FAILED_TEST,
        "DoesNot::test": Outcome.FAILED_TEST,
    }
