"""Tests written by the model: what is taken from its answer, and what they say together."""

from __future__ import annotations

import pytest

from agent.testgen import consensus, read_written
from memory.records import CallTest, CaseResult, Outcome, Verdict

ANSWER = """Here are the tests:
```python
assert f(1) == 2
assert f([1, 2], key="a") == {"a": (1, 2)}
assert f(1) == 2
assert not f(0)
assert f("x")
assert f(3) == g(4)
assert g(3) == 4
assert f(5) == 6, "message"
assert f(x) == 1
assert f(7) == 8
assert f(7) == 9
assert f(9) ==
print(f(1))
```"""


def test_literal_asserts_on_the_entry_point_are_taken() -> None:
    assert read_written(ANSWER, "f") == (
        CallTest(call="f(1)", expected="2"),
        CallTest(call="f([1, 2], key='a')", expected="{'a': (1, 2)}"),
        CallTest(call="f(0)", expected="False"),
        CallTest(call="f('x')", expected="True"),
        CallTest(call="f(5)", expected="6"),
    )


def test_asserts_on_a_method_are_taken_whatever_holds_the_object() -> None:
    answer = """```python
solution = Solution()
assert solution.two([2, 7], target=9) == [0, 1]
assert Solution().two([3, 3], 6) == [0, 1]
assert Solution().one([3, 3], 6) == [0, 1]
assert two([1], 1) == []
assert solution.inner.two([1], 1) == []
```"""
    assert read_written(answer, "Solution().two") == (
        CallTest(call="Solution().two([2, 7], target=9)", expected="[0, 1]"),
        CallTest(call="Solution().two([3, 3], 6)", expected="[0, 1]"),
    )
    assert read_written("assert g.f(1) == 2", "f") == ()


def test_words_are_no_tests() -> None:
    assert read_written("I cannot do that.", "f") == ()


def verdict(*passed: bool) -> Verdict:
    cases = tuple(CaseResult(name="", outcome=Outcome.PASSED if good else Outcome.FAILED_TEST) for good in passed)
    return Verdict(id="", outcome=Outcome.FAILED_TEST, passed=sum(passed), total=len(passed), cases=cases)


def test_consensus_by_hand() -> None:
    # programs 0 and 1 (4 + 5 attempts) pass tests {0, 1}: 3 · 2; program 2 (1 attempt) passes {0, 1, 2}: 1 · 3
    scores = consensus([verdict(True, True, False), verdict(True, True, False), verdict(True, True, True)], [4, 5, 1])
    assert scores == pytest.approx([1.0, 1.0, 0.5])
    assert consensus([verdict(False), None], [1, 1]) == [0.0, 0.0]
