"""Names and constructs that a statement wants or forbids."""

from __future__ import annotations

import time

import pytest

from agent.review.demands import demands


def read(statement: str) -> list[str]:
    return [("+" if demand.wanted else "-") + demand.subject.name for demand in demands(statement)]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("Do not use recursion.", ["-recursion"]),
        ("Sort the list without using sorted().", ["-sorted"]),
        ("Write f. Don't use sorted, reversed or `.sort()`.", ["-sorted", "-reversed", "-sort"]),
        ("Don\u2019t use eval.", ["-eval"]),
        ("Write it without using the built-in sum function.", ["-sum"]),
        ("Can you write a function that adds numbers without using sum()?", ["-sum"]),
        ("Do not use max or min functions.", ["-max", "-min"]),
        ("You must not use `math.sqrt`.", ["-math.sqrt"]),
        ("do not use numpy", ["-numpy"]),
        ("Write it without loops.", ["-loop"]),
        ("Do not use any loop.", ["-loop"]),
        ("Do not use a for loop.", ["-for loop"]),
        ("Do not use any external libraries.", ["-third-party import"]),
        ("Do not import any modules.", ["-import"]),
        ("Reverse it without importing anything", ["-import"]),
        ("Do not use loops, but use recursion.", ["-loop", "+recursion"]),
        ("Please use a while loop.", ["+while loop"]),
        ("The function must use recursion to walk the tree.", ["+recursion"]),
        ("Write a function to divide two lists using map and lambda function.", ["+map", "+lambda"]),
        ("Write a function to check whether the text is valid or not using regex.", ["+re"]),
        ("Write a function to group pairs using collections module.", ["+collections"]),
        ("Rules:\n- Do not use recursion\n- Return an int", ["-recursion"]),
        ('def f(x):\n    """Give f(x).\n    Do not\n    use recursion.\n    >>> f(1)\n    """', ["-recursion"]),
    ],
)
def test_clear_demands(statement: str, expected: list[str]) -> None:
    assert read(statement) == expected


@pytest.mark.parametrize(
    "statement",
    [
        "",
        "Use recursion if possible.",
        "Use recursion, if you can.",
        "Hint: use recursion.",
        "Use recursion or a loop.",
        "You may use sorted.",
        "You can use `sorted`.",
        "Could you do it without using sorted?",
        "Bonus: solve it without using sorted.",
        "Follow up: solve it without using recursion.",
        "If the list is long, do not use recursion.",
        "It is hard to do this without using recursion.",
        "Many people do not use `eval`.",
        "Find the functions that do not use `print`.",
        "Do not use `list` as a variable name.",
        "Do not use `print` for debugging.",
        "Do not use `len` more than once.",
        "Do not use sorted arrays.",
        "Do not use any library functions.",
        "Do not use any built-in functions except len.",
        "Do not use sorted or anything like it.",
        "Sort the array without using any sorting algorithm.",
        "Do it without using extra space.",
        "Do not use the same element twice.",
        "Do not use `frobnicate`.",
        "Write a function to decode a message encoded using `zlib`.",
        "The checksum was made using `sum`.",
        "Write a function to sort using radix sort.",
        "Write a function to find the number using bitwise operator.",
        "Use `sorted` instead of `.sort()` or a loop.",
        "Use recursion. Do not use recursion.",
        "Do not use a list.",
        "Use map.",
    ],
)
def test_doubt_is_no_demand(statement: str) -> None:
    assert read(statement) == []


def test_a_huge_statement_is_read_quickly() -> None:
    started = time.monotonic()
    assert read("do not use " * 200_000) == []
    assert read("using , or " * 200_000 + "Do not use recursion.") == []
    assert read("do not use a, " * 40 + ". Do not use recursion.") == ["-recursion"]
    assert time.monotonic() - started < 2
