"""What a task asks, in few words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.experience.gist import MAX_CHARS, gist, signature
from agent.task import read_problem
from memory.records import Problem


def problem(statement: str) -> Problem:
    return read_problem("p", [{"role": "user", "content": statement}])


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (
            "Write a function to reverse words in a string.\n\nassert reverse_words('a b') == 'b a'",
            "reverse words: Write a function to reverse words in a string.",
        ),
        (
            'def below_zero(operations):\n    """ Does the balance ever fall below zero?\n'
            '    >>> below_zero([1, -2])\n    True\n    """\n',
            "below zero: Does the balance ever fall below zero?",
        ),
        (
            "Please solve the task below using a self-contained code snippet in a markdown code block.\n\n"
            "Given n, return the sum of its digits.\n\nExample 1:\nInput: n = 12\nOutput: 3\n\n"
            "```python\nclass Solution:\n    def digit_sum(self, n: int) -> int:\n        \n```",
            "Given n, return the sum of its digits.",
        ),
        ("Sort the numbers of a file", "Sort the numbers of a file"),
    ],
)
def test_what_stands_before_the_examples(statement: str, expected: str) -> None:
    assert gist(problem(statement)) == expected


@pytest.mark.parametrize(
    ("code", "name", "expected"),
    [
        ("import re\ndef f(a: int, *, b=2) -> str:\n    return ''", "f", "def f(a: int, *, b=2) -> str"),
        ("class Solution:\n    def f(self): ...", "Solution", "class Solution"),
        ("def g(): ...", "f", ""),
        ("def f(:", "f", ""),
        ("x = 1", None, ""),
    ],
)
def test_header_of_the_entry_point(code: str, name: str | None, expected: str) -> None:
    assert signature(code, name) == expected


@given(st.text())
def test_any_statement_has_a_short_gist(statement: str) -> None:
    found = gist(Problem(id="p", statement=statement))
    assert len(found) <= MAX_CHARS and found == " ".join(found.split())
