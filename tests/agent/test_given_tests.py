"""Tests as users write them."""

from __future__ import annotations

from typing import Any

import pytest

from agent.errors import BadTests
from agent.given_tests import called_name, read_tests
from memory.records import AssertTest, CallTest, CodeTest, StdioTest


def test_assert_lines_are_separate_and_keep_their_setup() -> None:
    assert read_tests("x = 2\nassert f(x) == 3\nassert f(1) == 2") == (
        AssertTest(source="x = 2\nassert f(x) == 3"),
        AssertTest(source="x = 2\nassert f(1) == 2"),
    )


@pytest.mark.parametrize(
    ("source", "runner"),
    [
        ("def test_a():\n    assert f(1) == 2", "pytest"),
        ("class TestF:\n    def test_a(self):\n        assert f(1) == 2", "pytest"),
        (
            "import unittest\nclass T(unittest.TestCase):\n    def test_a(self):\n        self.assertEqual(f(1), 2)",
            "unittest",
        ),
        ("def check(candidate):\n    assert candidate(1) == 2", "check"),
        ("def check(candidate):\n    assert candidate(1) == 2\ncheck(Solution().f)", "script"),
        ("for i in range(3):\n    assert f(i) == i", "script"),
    ],
)
def test_files(source: str, runner: str) -> None:
    assert read_tests(source) == (CodeTest(source=source, runner=runner),)  # type: ignore[arg-type]


def test_objects() -> None:
    given: list[dict[str, Any]] = [{"stdin": "1\n", "stdout": "2\n"}, {"call": "f(1)", "expected": [1, None]}]
    assert read_tests(given) == (
        StdioTest(stdin="1\n", stdout="2\n"),
        CallTest(call="f(1)", expected="[1, None]", from_json=True),
    )


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("assert f(", "not valid Python"),
        ("f(1)", "no assert"),
        ([{"stdin": "1"}], r"tests\[0\]"),
        ([{"stdin": 1, "stdout": "2"}], "must be strings"),
        ([{"call": "f(", "expected": 1}], "not a Python expression"),
        ([{"call": 3, "expected": 1}], "as a string"),
    ],
)
def test_bad_tests_say_where_and_what(given: Any, says: str) -> None:
    with pytest.raises(BadTests, match=says):
        read_tests(given)


def test_other_languages_take_objects_with_calls_of_their_own() -> None:
    given: list[dict[str, Any]] = [{"call": "f({a: 1}, x => x)", "expected": [True, None, "é"]}]
    expected = '[true, null, "\\u00e9"]'
    assert read_tests(given, python=False) == (CallTest(call="f({a: 1}, x => x)", expected=expected, from_json=True),)
    with pytest.raises(BadTests, match="are for Python"):
        read_tests("assert f(1) == 1", python=False)


def test_no_tests() -> None:
    assert read_tests("") == () == read_tests([])


def test_called_name() -> None:
    assert called_name(read_tests("assert sorted(pairs([1])) == [1]")) == "pairs"
    assert called_name(read_tests("def test_a():\n    assert len(pairs([1])) == 1")) == "pairs"
    assert called_name(read_tests([{"stdin": "", "stdout": ""}])) is None
