"""Families of problems and the split by them."""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import Any

import pytest

from agent.problems import COMPLETE_REQUEST, fenced, load
from memory.records import Problem
from tests.data import data_file
from training.families import description, families, held_out


def problem(name: str, statement: str, **more: Any) -> Problem:
    return Problem(id=name, statement=statement, **more)


def asked(name: str, said: str, **more: Any) -> Problem:
    """A problem as MBPP states it."""
    stub = f'def {name}(x):\n    """\n    Write a function to {said}\n    >>> {name}(1)\n    2\n    """\n'
    return problem(name, f"{COMPLETE_REQUEST}\n\n{fenced(stub)}", entry_point=name, **more)


SUM = "find the sum of all even numbers in the given list of lists using a lambda function."
PRODUCT = "find the product of all even numbers in the given list of lists using a lambda function."
OTHER = "convert a given string of words into title case."


def test_a_description_is_what_is_said_of_the_task() -> None:
    assert description(asked("f", SUM)) == SUM.rstrip()
    leetcode = problem(
        "l",
        "Please solve the programming task below using a self-contained code snippet in a markdown code block.\n\n"
        "Given an array, return it.\n\nPlease complete the following python code precisely:\n"
        "```python\nclass Solution:\n    def f(self, a):\n```",
    )
    assert description(leetcode) == "Given an array, return it."
    assert description(problem("p", "```python\nx = 1\n```")) == "```python x = 1 ```", "nothing else is there"


def test_one_word_exchanged_is_the_same_family_and_another_task_is_not() -> None:
    found = families([asked("a", SUM), asked("b", OTHER), asked("c", PRODUCT)])
    assert found == {"a": "a", "b": "b", "c": "a"}


def test_the_same_solution_with_other_names_is_the_same_family() -> None:
    one = "def f(x):\n    total = 0\n    for y in x:\n        total += y * y\n    return total\n"
    other = "def g(a):\n    '''Doc.'''\n    r = 0\n    for b in a:\n        r += b * b\n    return r  # why\n"
    tiny = "def h(x):\n    return x\n"
    found = families(
        [
            asked("a", SUM, reference=one),
            asked("b", OTHER, reference=other),
            asked("c", "say what is given to it and nothing else", reference=tiny),
            asked("d", "return the argument unchanged", reference=tiny.replace("h", "k")),
        ]
    )
    assert found == {"a": "a", "b": "a", "c": "c", "d": "d"}, "a program of a few nodes is nobody's"


def test_equal_statements_and_stated_families_are_joined_over_others() -> None:
    found = families(
        [
            asked("z", SUM),
            problem("y", "Print it!", family="texts"),
            problem("x", "print  it !"),
            asked("w", PRODUCT, family="texts"),
            problem("v", "alone", family="other"),
        ]
    )
    assert found == {"z": "w", "y": "w", "x": "w", "w": "w", "v": "v"}


def test_order_does_not_matter() -> None:
    problems = load(data_file("mbpp_train.jsonl.gz"))
    found = families(problems)
    random.Random(3).shuffle(problems)
    assert families(problems) == found
    sizes = Counter(found.values())
    assert 330 <= len(sizes) <= 360 and sizes["MBPP/719"] == 6
    assert {found[f"MBPP/{number}"] for number in (719, 756, 787, 794, 879, 930)} == {"MBPP/719"}


def test_many_problems_take_seconds() -> None:
    draw = random.Random(5)
    words = [f"w{number}" for number in range(3000)]
    problems = [
        problem(str(number), "You are given a list of integers. " + " ".join(draw.choices(words, k=80)))
        for number in range(1500)
    ]
    started = time.process_time()
    assert len(set(families(problems).values())) == 1500
    assert time.process_time() - started < 15


def test_the_split_follows_seed_and_names_and_never_the_company() -> None:
    family_of = {f"p{number}": f"f{number // 2}" for number in range(400)}
    first = held_out(family_of, 0.2, seed=1)
    assert 25 <= len(first) <= 55 and first == held_out(family_of, 0.2, seed=1) != held_out(family_of, 0.2, seed=2)
    more = held_out(family_of | {"new": "f999", "newer": "f998"}, 0.2, seed=1)
    assert more - {"f999", "f998"} == first, "families that come later move no other"
    named = held_out(family_of, 0.2, seed=1, names=["p4", "f9", "unknown"])
    assert named == first | {"f2", "f9"}
    assert held_out(family_of, 0.0, seed=1) == frozenset()
    assert held_out(family_of, 0.0, seed=1, names=["f1"]) == {"f1"}


@pytest.mark.parametrize("seed", range(20))
def test_neither_side_is_empty_where_there_are_two_families(seed: int) -> None:
    for share in (0.01, 0.99):
        out = held_out({"a": "a", "b": "b", "c": "b"}, share, seed)
        assert len(out) == 1
    assert len(held_out({"a": "a"}, 0.01, seed)) == 0
