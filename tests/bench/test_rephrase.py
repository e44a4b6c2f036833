"""Rephrasings ask for the same thing."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.examples import find_tests
from agent.problems import fenced, load
from agent.task import Message, read_problem
from memory.fingerprint import fingerprint
from memory.records import AssertTest, CallTest, CodeTest, Problem
from tests.bench.rephrase import CannotRephrase, Chat, by_model, by_rule, renamed
from tests.data import data_file

CODE = '''\
def first_even(numbers, start=0):
    """
    Write a function to find the first even number in a given list that is not 'big', at least 2.
    >>> first_even([1, 4], 0)
    4
    """
'''
PROBLEM = Problem(
    id="x/1",
    statement=f"Complete this Python function.\n\n{fenced(CODE)}",
    entry_point="first_even",
    visible=(CallTest(call="first_even([2])", expected="2"), AssertTest(source="assert first_even([6]) == 6")),
    hidden=(
        CodeTest(source="def check(candidate):\n    assert candidate([8]) == 8\n", runner="check"),
        CodeTest(source="assert first_even([8]) == 8\n", runner="script"),
    ),
    reference=f"{CODE}    return next(n for n in numbers[start:] if n % 2 == 0)\n",
)
GOOD = "Given a list, which is the first even element that is not 'big' and is 2 or more? Write code that returns it."


@pytest.fixture(scope="module")
def mbpp() -> list[Problem]:
    return [*load(data_file("mbpp_train.jsonl.gz")), *load(data_file("mbpp_validation.jsonl.gz"))]


def spelled(statement: str, name: str | None) -> set[str]:
    """The examples found in a statement, blanks and quotes left out of account."""
    made = set()
    for test in find_tests(statement, name):
        assert isinstance(test, CallTest | AssertTest)
        source = f"assert {test.call} == {test.expected}" if isinstance(test, CallTest) else test.source
        made.add("".join(source.split()).replace('"', "'").replace("(", "").replace(")", "").replace(",]", "]"))
    return made


def saying(text: str) -> Chat:
    async def chat(messages: Sequence[Message]) -> str:
        assert "first even number" in messages[-1]["content"]
        assert ">>>" not in messages[-1]["content"]
        return text

    return chat


@pytest.mark.parametrize("seed", [0, 1])
def test_every_problem_of_mbpp_keeps_its_entry_point_and_its_examples(seed: int, mbpp: list[Problem]) -> None:
    for problem in mbpp:
        other = by_rule(problem, seed).problem
        assert spelled(other.statement, other.entry_point) == spelled(problem.statement, problem.entry_point)
        assert read_problem("", [{"role": "user", "content": other.statement}]).entry_point == problem.entry_point
        assert fingerprint(other.statement) != fingerprint(problem.statement)
        assert (other.id, other.hidden, other.reference) == (problem.id, problem.hidden, problem.reference)


def test_another_name_is_another_name_everywhere(mbpp: list[Problem]) -> None:
    for problem in mbpp:
        other = renamed(problem, 0)
        again = by_rule(other, 0).problem
        old, new = problem.entry_point or "", other.entry_point or ""
        assert spelled(again.statement, new) == {
            one.replace(f"assert{old}", f"assert{new}", 1) for one in spelled(problem.statement, old)
        }
        assert f"def {new}(" in (other.reference or "").replace(" (", "(")
        assert f"def {old}(" not in (other.reference or "")
        assert other.hidden == problem.hidden


@given(st.integers())
@settings(max_examples=40, deadline=None)
def test_a_rephrasing_depends_on_the_seed_alone(seed: int) -> None:
    made = by_rule(PROBLEM, seed)
    assert made == by_rule(PROBLEM, seed)
    assert made.by == "rule"
    assert "'big'" in made.problem.statement
    assert "find the first even number in a given" not in made.problem.statement


def test_a_new_name_reaches_tests_and_reference() -> None:
    other = renamed(PROBLEM, 3)
    name = other.entry_point
    assert name is not None and name.endswith("_task")
    assert other.visible == (
        CallTest(call=f"{name}([2])", expected="2"),
        AssertTest(source=f"assert {name}([6]) == 6"),
    )
    assert other.hidden == (PROBLEM.hidden[0], CodeTest(source=f"assert {name}([8]) == 8\n", runner="script"))
    assert "first_even" not in f"{other.statement}{other.reference}"


def test_a_name_that_is_a_word_stays_in_the_prose() -> None:
    word = Problem(
        id="x/2",
        statement=fenced(
            'def split(text):\n    """Write a function to split a text.\n    >>> split("a")\n    ["a"]\n    """'
        ),
        entry_point="split",
        reference="def split(text):\n    return text.split()\n",
    )
    other = renamed(word, 0)
    assert "to split a text" in other.statement
    assert other.reference == f"def {other.entry_point}(text):\n    return text.split()\n"


async def test_a_model_may_reword_the_description() -> None:
    made = await by_model(PROBLEM, saying(f'"{GOOD}"\n'), 1)
    assert (made.by, made.fault) == ("model", "")
    assert GOOD in " ".join(made.problem.statement.split())
    assert spelled(made.problem.statement, "first_even") == spelled(PROBLEM.statement, "first_even")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "shorter"),
        (GOOD * 9, "longer"),
        ("Write a function to find the first even number in a given list that is not 'big', at least 2.", "same words"),
        (f"{GOOD} assert first_even([1]) == 7", "code"),
        (f"{GOOD}\n```python\ndef first_even(): ...\n```", "code"),
        (f"{GOOD} Call it even_first please.", "even_first"),
        (GOOD.replace("even", "odd"), "even"),
        (GOOD.replace("first", "last"), "first"),
        (GOOD.replace("'big'", "large"), "big"),
        (GOOD.replace("2", "3"), "one of both"),
        (GOOD.replace("not ", ""), "negates"),
    ],
)
async def test_what_cannot_be_trusted_is_replaced_by_the_rule(text: str, fault: str) -> None:
    made = await by_model(PROBLEM, saying(text), 1)
    assert made.by == "rule"
    assert fault in made.fault
    assert made.problem == by_rule(PROBLEM, 1).problem


def test_what_is_no_stub_is_refused() -> None:
    with pytest.raises(CannotRephrase, match="x/3"):
        by_rule(Problem(id="x/3", statement="Write a program that reads two numbers."), 0)
    with pytest.raises(CannotRephrase, match="x/4"):
        renamed(Problem(id="x/4", statement="Write a program that reads two numbers."), 0)
