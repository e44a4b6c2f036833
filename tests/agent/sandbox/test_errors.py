"""Exceptions of the program as tests see them."""

from __future__ import annotations

import pytest

from agent.sandbox.judge.program import Program
from agent.sandbox.pool import WorkerPool
from agent.sandbox.wire import codec
from agent.sandbox.wire.codec import Json
from agent.sandbox.wire.rpc import Gone
from memory.records import CodeTest, Outcome

pytestmark = pytest.mark.asyncio(loop_scope="session")

OWN = """
import json, sys
class Low(Exception):
    status = 4
    def __init__(self, a, b):
        self.a, self.b = a, b
    @property
    def missing(self): return self.b - self.a
    def doubled(self): return 2 * self.missing
    def __str__(self): return f"{self.missing} missing"
class Both(KeyError, ValueError): pass
def low(): raise Low(1, 4)
def both(): raise Both("x")
def made(): return Low(2, 3)
def parse(text): return json.loads(text)
def leave(): sys.exit(3)
def group():
    try:
        raise ValueError(1)
    except ValueError as error:
        raise ExceptionGroup("several", [error, ExceptionGroup("inner", [KeyError("k")])]) from error
def retried(function, times):
    for _ in range(times):
        try:
            return function()
        except Exception as error:
            last = error
    raise last
def caught(function):
    try:
        function()
    except Low as error:
        return error.a
"""

TESTS = """
import json
import pytest
from solution import *

def test_fields():
    with pytest.raises(Low, match="^3 missing$") as info:
        low()
    error = info.value
    assert (error.args, error.a, error.missing, error.status) == ((1, 4), 1, 3, 4)

def test_every_base():
    for kind in (KeyError, ValueError, LookupError, Both):
        with pytest.raises(kind):
            both()

def test_as_a_value():
    error = made()
    assert isinstance(error, Low) and error.doubled() == 2 and str(error) == "1 missing" and made() is not error

def test_made_by_the_test():
    assert str(Low(1, 9)) == "8 missing" and Low(1, 2).a == 1 and Low.status == 4
    with pytest.raises(TypeError):
        Low()

def test_of_the_standard_library():
    with pytest.raises(json.JSONDecodeError) as info:
        parse("{")
    assert info.value.pos == 1 and type(info.value) is json.JSONDecodeError

def test_exit():
    with pytest.raises(SystemExit) as info:
        leave()
    assert info.value.code == 3

def test_group():
    with pytest.raises(ExceptionGroup) as info:
        group()
    value, inner = info.value.exceptions
    assert isinstance(value, ValueError) and isinstance(inner.exceptions[0], KeyError)
    assert isinstance(info.value.__cause__, ValueError) and info.value.message == "several"

def test_of_the_test_come_back():
    class Mine(Exception):
        pass
    def fail():
        raise Mine("mine", 3)
    with pytest.raises(Mine) as info:
        retried(fail, 3)
    assert info.value.args == ("mine", 3)

def test_of_the_program_raised_by_the_test():
    def fail():
        raise Low(5, 6)
    assert caught(fail) == 5
"""


async def test_they_are_what_they_are(pool: WorkerPool) -> None:
    verdict = await pool.run(OWN, [CodeTest(source=TESTS, runner="pytest")])
    assert {case.name: case.message for case in verdict.cases if case.outcome is not Outcome.PASSED} == {}
    assert verdict.total == 9


async def test_no_skip_by_the_program(pool: WorkerPool) -> None:
    code = "import unittest\ndef f():\n    raise unittest.SkipTest('no')\n"
    source = "import unittest\nfrom solution import f\nclass T(unittest.TestCase):\n    def test(self):\n        f()\n"
    verdict = await pool.run(code, [CodeTest(source=source, runner="unittest")])
    assert [case.outcome for case in verdict.cases] == [Outcome.RUNTIME_ERROR]


async def test_a_group_is_no_type_error(pool: WorkerPool) -> None:
    code = "def f():\n    raise BaseExceptionGroup('g', [KeyboardInterrupt()])\n"
    source = "import pytest\nfrom solution import f\ndef test():\n    with pytest.raises(TypeError):\n        f()\n"
    verdict = await pool.run(code, [CodeTest(source=source, runner="pytest")])
    assert [case.outcome for case in verdict.cases] == [Outcome.RUNTIME_ERROR]


class Nobody:
    """The other end of no connection."""

    def request(self, op: str, arguments: Json) -> dict[str, Json]:
        raise NotImplementedError


def kind(module: str, name: str, number: int | None = None, *bases: int) -> Json:
    return [module, name, number, list(bases)]


def told(*kinds: Json, **rest: Json) -> dict[str, Json]:
    return {"told": {"kinds": list(kinds), "args": codec.encode(()), **rest}}


@pytest.mark.parametrize(
    "described",
    [
        told(),
        told(kind("builtins", "ExceptionGroup"), members=[]) | {"told": {"kinds": 5}},
        told(kind("m", "A", 0, 0)),
        told(kind("m", "A", 0, 7)),
        told(kind("m", "A", 0, 1, 2), kind("builtins", "OSError"), kind("builtins", "UnicodeDecodeError")),
        told(kind("m", "\ud800", 0)),
        told(kind("builtins", "ExceptionGroup"), members=[{"kinds": [kind("builtins", "KeyboardInterrupt")]}]),
        told(kind("builtins", "ValueError"), args={"v": ["?"], "o": []}),
        {"told": {"test": 5}},
        {"told": {"test": -1}},
        {"type": "UnicodeDecodeError"},
    ],
)
async def test_what_cannot_be_made_is_nobodys_exception(described: dict[str, Json]) -> None:
    with pytest.raises(Gone):
        Program(lambda answer, unsent: Nobody(), {}).exception(described)


async def test_places_outside_a_text_are_never_read() -> None:
    arguments = codec.encode(("utf-8", b"", -(10**12), -(10**12) + 1, "x"))
    error = Program(lambda answer, unsent: Nobody(), {}).exception(
        told(kind("builtins", "UnicodeDecodeError"), args=arguments)
    )
    assert isinstance(error, UnicodeDecodeError)
    assert str(error) == ""


async def test_exceptions_that_steer_tests_are_not_the_programs() -> None:
    error = Program(lambda answer, unsent: Nobody(), {}).exception(told(kind("unittest.case", "SkipTest")))
    assert type(error).__name__ == "SkipTest"
    assert type(error).__module__ != "unittest.case"
