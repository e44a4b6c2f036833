"""Names of languages, and what their programs cannot have."""

from __future__ import annotations

import pytest

from agent.errors import BadTests, UnknownLanguage
from agent.sandbox.native import language
from agent.sandbox.native import plan as plans
from agent.sandbox.native.language import Language
from memory.records import AssertTest, CallTest, CodeTest, StdioTest


def test_names() -> None:
    given = ["python", "py", "JS", "javascript", "ts", "TypeScript", "c++", "cpp", " cxx "]
    python, js, ts, cpp = Language
    assert [language.named(name) for name in given] == [python, python, js, js, ts, ts, cpp, cpp, cpp]


def test_an_unknown_one_is_told_which_are_known() -> None:
    with pytest.raises(UnknownLanguage, match="'cobol' cannot be run; languages: python, javascript, typescript, cpp"):
        language.named("cobol")


@pytest.mark.parametrize("test", [AssertTest(source="assert f() == 1"), CodeTest(source="f()", runner="script")])
def test_test_source_is_for_python(test: AssertTest | CodeTest) -> None:
    with pytest.raises(BadTests, match="test files are for Python; programs in javascript take"):
        plans.make([test], Language.JAVASCRIPT)


def test_plan() -> None:
    plan = plans.make([StdioTest(stdin="", stdout=""), CallTest(call="f({a: 1})", expected="[1]")], Language.JAVASCRIPT)
    assert [stdio.index for stdio in plan.stdio] == [0]
    assert [(call.index, call.name, call.value, call.expected) for call in plan.calls] == [(1, "f({a: 1})", [1], "[1]")]
    with pytest.raises(BadTests, match="call is empty"):
        plans.make([CallTest(call=" ", expected="1")], Language.CPP)
