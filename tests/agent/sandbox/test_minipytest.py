"""What test sources use of pytest, run in the judge. Names of cases are those that pytest gives."""

from __future__ import annotations

import pytest

from agent.sandbox.pool import WorkerPool
from memory.records import CodeTest, Outcome, Verdict

pytestmark = pytest.mark.asyncio(loop_scope="session")

CODE = """
import os
class Low(ValueError): pass
def add(a, b=0): return a + b
def fail(n): raise Low(f"{n} is low")
"""


async def run(pool: WorkerPool, source: str, prelude: str = "") -> dict[str, Outcome]:
    verdict: Verdict = await pool.run(
        CODE, [CodeTest(source=source, runner="pytest")], entry_point="add", prelude=prelude
    )
    return {case.name: case.outcome for case in verdict.cases}


async def test_fixture_parameters_and_ids(pool: WorkerPool) -> None:
    source = """
import pytest
from solution import add

log = []

@pytest.fixture(params=[1, pytest.param(2, id="two")])
def number(request):
    log.append(request.param)
    yield request.param
    log.append(-request.param)

@pytest.fixture(params=["a", "b"], ids=["first", None])
def letter(request):
    return request.param

@pytest.fixture
def pair(number, letter):
    return number, letter

@pytest.fixture(autouse=True)
def counted():
    log.append("test")

def test_number(number):
    assert add(number, 1) == number + 1

def test_pair(pair, number):
    assert pair[0] == number

@pytest.mark.parametrize("a", [1, 2], ids=lambda value: f"<{value}>")
@pytest.mark.parametrize("b", [3], ids=["three"])
def test_product(a, b):
    assert add(a, b) == a + 3

@pytest.mark.parametrize("a", [[], 1, 1, int])
def test_same_labels(a):
    pass

@pytest.mark.usefixtures("number")
def test_used():
    assert log[-1] in (1, 2)

def test_order():
    assert log[:6] == ["test", 1, -1, "test", 2, -2]

class TestOwn:
    @pytest.fixture
    def own(self, letter):
        return letter * 2

    def test_own(self, own):
        assert own in ("aa", "bb")
"""
    found = await run(pool, source)
    assert set(found.values()) == {Outcome.PASSED}, found
    assert list(found) == [
        "test_number[1]", "test_number[two]",
        "test_pair[1-first]", "test_pair[1-b]", "test_pair[two-first]", "test_pair[two-b]",
        "test_product[three-<1>]", "test_product[three-<2>]",
        "test_same_labels[a0]", "test_same_labels[1_0]", "test_same_labels[1_1]", "test_same_labels[int]",
        "test_used[1]", "test_used[two]", "test_order", "TestOwn::test_own[first]", "TestOwn::test_own[b]",
    ]  # fmt: skip


async def test_monkeypatch_is_undone(pool: WorkerPool) -> None:
    source = """
import os, sys, pytest
from solution import add

class Box:
    value = 1
    @staticmethod
    def plain(): return 1

box = Box()
items = {"a": 1}

def test_change(monkeypatch, tmp_path):
    monkeypatch.setattr(Box, "value", 2)
    monkeypatch.setattr(Box, "plain", staticmethod(lambda: 2))
    monkeypatch.setattr(box, "new", 3, raising=False)
    monkeypatch.setattr("math.pi", 3)
    monkeypatch.setitem(items, "a", 2)
    monkeypatch.setitem(items, "b", 2)
    monkeypatch.setenv("COLOUR", "red")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    import math
    assert (Box.value, Box.plain(), box.new, math.pi, items, os.environ["COLOUR"]) == (2, 2, 3, 3, {"a": 2, "b": 2}, "red")
    assert sys.path[0] == str(tmp_path) and os.getcwd() == str(tmp_path)
    with pytest.raises(AttributeError):
        monkeypatch.setattr(box, "nothing", 1)
    monkeypatch.delitem(items, "a")
    monkeypatch.delenv("COLOUR")
    monkeypatch.delattr(box, "new")
    assert items == {"b": 2} and "COLOUR" not in os.environ and not hasattr(box, "new")

def test_undone():
    import math
    assert (Box.value, Box.plain(), items) == (1, 1, {"a": 1})
    assert math.pi > 3.1 and "COLOUR" not in os.environ and not hasattr(box, "new") and len(sys.path[0]) < 100

def test_context():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(items, "c", 1)
    assert "c" not in items
"""
    found = await run(pool, source)
    assert set(found.values()) == {Outcome.PASSED}, found


async def test_raises_and_approx(pool: WorkerPool) -> None:
    source = """
import pytest
from solution import add, fail, Low

def test_match():
    with pytest.raises((KeyError, ValueError), match=r"^\\d is low$") as info:
        fail(1)
    assert info.type is Low and info.match("low")

def test_no_match():
    with pytest.raises(ValueError, match="high"):
        fail(1)

def test_other():
    with pytest.raises(KeyError):
        fail(1)

def test_nested():
    assert {"a": [add(0.1, 0.2)], "b": (1,)} == pytest.approx({"a": [0.3], "b": (1,)})
    assert [[add(0.1, 0.2)]] != pytest.approx([[0.31]])
"""
    assert list((await run(pool, source)).values()) == [
        Outcome.PASSED, Outcome.FAILED_TEST, Outcome.RUNTIME_ERROR, Outcome.PASSED,
    ]  # fmt: skip


async def test_prelude_helpers_see_the_program(pool: WorkerPool) -> None:
    prelude = "def helper(x):\n    return add(x, 1) * 2\ndef uses_class(n):\n    try:\n        fail(n)\n    except Low as error:\n        return str(error)\n"
    source = "def test_helper():\n    assert helper(1) == 4\n    assert uses_class(3) == '3 is low'\n"
    assert await run(pool, source, prelude) == {"test_helper": Outcome.PASSED}
    check = CodeTest(source="def check(candidate):\n    assert helper(candidate(1)) == 4\n", runner="check")
    verdict = await pool.run(CODE, [check], entry_point="add", prelude=prelude)
    assert verdict.outcome is Outcome.PASSED, verdict.error
