"""For any prompt: nothing is raised, nothing is expected that the prompt does not say, the sandbox takes every test."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sandbox import plan
from agent.task import read_problem
from tests.fuzz.invention import invented
from tests.fuzz.prompts import FRAGMENTS, prompt


def holds(text: str) -> None:
    problem = read_problem("p", [{"role": "user", "content": text}])
    plan.make(problem.visible, entry_point=problem.entry_point, prelude="")
    for test in problem.visible:
        assert invented(test, text) is None, test


@settings(max_examples=400, deadline=None)
@given(st.text(max_size=300))
def test_any_text(text: str) -> None:
    holds(text)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=40).map("".join))
def test_fragments_of_all_forms(text: str) -> None:
    holds(text)


@settings(max_examples=300, deadline=None)
@given(st.integers(min_value=0, max_value=10**9))
def test_damaged_prompts(seed: int) -> None:
    real = ["def f(a, b):\n    '''Add.\n    >>> f(1, 2)\n    3\n    '''\n", "f([1]) ➞ 2\nf([2]) should return [3, 'a']\n",
            "Sample Input\n1 2\nSample Output\n3\n\nThe sum of both of them."]  # fmt: skip
    holds(prompt(random.Random(seed), real))
