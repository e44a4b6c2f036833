"""Which chats are refined, and what problem they state."""

from __future__ import annotations

import pytest

from agent.task import read_problem, route
from memory.records import AssertTest, TestSource


def chat(text: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": "You write Rust."}, {"role": "user", "content": text}]


@pytest.mark.parametrize(
    "text",
    [
        "write a function that reverses a string",
        "Complete:\n```python\ndef f(x):\n    '''Double x.'''\n```",
        "def f(x):\n    '''Double x.'''\n",
        "Fix this:\n```python\ndef f(x):\n  retrun x\n```",
        "Implement a class Stack in Python.",
        'this fails with\n```\nTraceback (most recent call last):\n  File "a.py", line 2\nIndexError: no\n```\n'
        "```python\ndef f(x):\n    return x[0]\n```",
        "please go ahead and write a function add(a, b)",
        "Please complete the code:\n```python\nclass Solution:\n    def two(self, n: int) -> int:\n```",
    ],
)
def test_refined(text: str) -> None:
    assert route(chat(text)).refine


@pytest.mark.parametrize(
    "text",
    [
        "hi",
        "",
        "What is a Python list?",
        "Explain this code:\n```python\ndef f(x):\n    return x\n```",
        "Write a poem about code",
        "Write a Rust function that adds two numbers",
        "Write a function in Go that adds",
        "Generate a concise, 3-5 word title for this chat about a Python function",
        "Why does this happen?\nTraceback (most recent call last):\n  ...\nIndexError: no\n```python\nx = [][0]\n```",
        "Review this function:\n```python\ndef f(x):\n    return x\n```",
    ],
)
def test_not_refined(text: str) -> None:
    assert not route(chat(text)).refine


def test_the_unfinished_definition_is_the_entry_point_and_the_rest_is_prelude() -> None:
    problem = read_problem(
        "p",
        chat(
            "```python\nimport math\n\ndef helper(x):\n    return x\n\n"
            "def goal(x):\n    '''>>> goal(1)\n    2\n    '''\n```"
        ),
    )
    assert problem.entry_point == "goal"
    assert "def helper" in problem.prelude and "def goal" not in problem.prelude
    assert problem.visible_source is TestSource.PROMPT and len(problem.visible) == 1


def test_tests_of_the_request_win_over_those_of_the_prompt() -> None:
    given = (AssertTest(source="assert area(2) == 4"),)
    problem = read_problem("p", chat("Write a function.\nassert other(1) == 2"), given)
    assert problem.visible == given
    assert problem.visible_source is TestSource.REQUEST
    assert problem.entry_point == "area"


def test_a_name_in_prose() -> None:
    assert read_problem("p", chat("Write a function called `median_of` for lists")).entry_point == "median_of"
    assert read_problem("p", chat("Write something in Python")).entry_point is None


def test_only_the_last_user_turn_is_the_statement() -> None:
    turns = [
        {"role": "user", "content": "Write f.\nassert f(1) == 1"},
        {"role": "assistant", "content": "..."},
        {"role": "user", "content": "Now write g.\nassert g(1) == 2"},
    ]
    problem = read_problem("p", turns)
    assert problem.entry_point == "g" and len(problem.visible) == 1
