"""Inputs made from the inputs of tests."""

from __future__ import annotations

import ast

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.probes import MAX_PROBES, probes
from memory.records import AssertTest, CallTest, CodeTest, StdioTest

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.floats(-1e6, 1e6) | st.text("ab c", max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text("ab", max_size=2) | st.integers(0, 9), inner, max_size=3)
    ),
    max_leaves=8,
)


def calls(*tests: AssertTest | CallTest, name: str = "f") -> list[str]:
    return [probe.call or "" for probe in probes(tests, name)]


def test_inputs_are_new_and_of_the_same_types() -> None:
    made = calls(CallTest(call="f([3, 1, 2], 'ab')", expected="3"), AssertTest(source="assert f([5], 'x') == 2"))
    assert len(made) == MAX_PROBES == len(set(made))
    assert not {"f([3, 1, 2], 'ab')", "f([5], 'x')"} & set(made)
    for call in made:
        numbers, text = (ast.literal_eval(part) for part in ast.parse(call, mode="eval").body.args)  # type: ignore[attr-defined]
        assert isinstance(text, str) and isinstance(numbers, list) and all(type(one) is int for one in numbers)
    assert made == calls(
        CallTest(call="f([3, 1, 2], 'ab')", expected="3"), AssertTest(source="assert f([5], 'x') == 2")
    ), "the same tests bring the same probes"


def test_negative_numbers_come_only_where_examples_have_them() -> None:
    assert not any("-" in call for call in calls(CallTest(call="f(5)", expected="1")))
    assert any("-" in call for call in calls(CallTest(call="f(-5)", expected="1")))


def test_methods_and_keywords() -> None:
    assert all(
        call.startswith("Solution().two_sum([")
        for call in calls(CallTest(call="Solution().two_sum([2, 7], target=9)", expected="[0, 1]"), name="Solution")
    )


def test_only_calls_of_the_entry_point_with_literals_count() -> None:
    assert calls(AssertTest(source="assert same(Solution().f(node([1])), node([2]))"), name="Solution") == []
    assert calls(AssertTest(source="x = [1]\nassert f(x) == 1")) == []
    assert calls(CallTest(call="f(1, **{'a': 2})", expected="1")) == []
    assert probes([CodeTest(source="def test_f(): pass", runner="pytest")], "f") == ()


def test_standard_input_keeps_its_first_line() -> None:
    made = probes([StdioTest(stdin="3\n10 20 30\n", stdout="60")], None)
    assert made and all((probe.stdin or "").startswith("3\n") for probe in made)
    assert len({probe.stdin for probe in made}) == len(made)
    assert probes([StdioTest(stdin="hello\n", stdout="x")], None) == ()


@given(st.lists(VALUES, min_size=1, max_size=3), st.integers(0, 5))
@settings(max_examples=300, deadline=None)
def test_every_probe_is_a_call_with_literals(arguments: list[object], seed: int) -> None:
    test = CallTest(call=f"f({', '.join(map(repr, arguments))})", expected="1")
    for probe in probes([test], "f", seed):
        call = ast.parse(probe.call or "", mode="eval").body
        assert isinstance(call, ast.Call)
        for argument in call.args:
            ast.literal_eval(argument)
