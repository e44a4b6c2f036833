"""Whether a program keeps to the form that was asked for."""

from __future__ import annotations

import ast

import pytest

from agent.problems import load
from agent.review.instructions import Check, checks
from memory.records import Problem
from memory.syntax import parse
from tests.data import data_file


def kept(statement: str, code: str, entry_point: str | None = None) -> bool | None:
    """Of the only instruction; None if it is not judged."""
    found = checks(Problem(id="p", statement=statement, entry_point=entry_point), ast.parse(code))
    assert len(found) < 2
    return found[0].kept if found else None


STUB = "Complete:\n```python\ndef f(a, b=1, *, c):\n    ...\n```"
ASYNC = "Complete:\n```python\nasync def f(a):\n    pass\n```"
CLASS = "Complete:\n```python\nclass Solution:\n    def two_sum(self, xs, target):\n```"
METHODS = "```python\nclass S:\n    def a(self):\n        return 1\n    def b(self, x):\n        pass\n```"


@pytest.mark.parametrize(
    ("statement", "code", "expected"),
    [
        (STUB, "def f(a, b=1, *, c): return a", True),
        (STUB, "@cache\ndef f(a: int, b: int = 2, *, c: str) -> int: return a", True),
        (STUB, "def f(a, b=1, memo=None, *, c, d=3, **more): return a", True),
        (STUB, "def f(a, b, *, c): return a", False),
        (STUB, "def f(a, b=1, *, c, d): return a", False),
        (STUB, "def f(x, b=1, *, c): return x", False),
        (STUB, "def f(b, a=1, *, c): return a", False),
        (STUB, "def f(a): return a", False),
        (STUB, "async def f(a, b=1, *, c): return a", False),
        (STUB, "class f:\n    pass", False),
        (STUB, "def g(a, b=1, *, c): return a", False),
        (STUB, "def f(x): return x\ndef f(a, b=1, *, c): return a", True),
        (STUB, "f = lambda a, b=1, *, c: a", None),
        (STUB, "if True:\n    def f(a): return a", None),
        (ASYNC, "async def f(a): return a", True),
        (ASYNC, "def f(a): return a", False),
        ("```python\ndef f(x):\n    return x + 1\n```\nAdd a parameter.", "def f(x, y): return x", None),
        ("Write a function f.", "def f(x, y): return x", None),
        ("```python\ndef fläche(höhe):\n    ...\n```", "def fläche(höhe): return höhe", True),
    ],
)
def test_signatures(statement: str, code: str, expected: bool | None) -> None:
    name = "fläche" if "fläche" in statement else "f"
    assert kept(statement, code, name) is expected


@pytest.mark.parametrize(
    ("statement", "name", "code", "expected"),
    [
        (CLASS, "Solution", "class Solution:\n    def two_sum(self, xs, target): return xs", True),
        (CLASS, "Solution", "class Solution:\n    def twoSum(self, xs, target): return xs", False),
        (CLASS, "Solution", "def two_sum(xs, target): return xs", False),
        (METHODS, "S", "class S:\n    def b(self, x): return 2", True),
        (METHODS, "S", "class S:\n    def a(self): return 1\n    def b(self): return 2", False),
    ],
)
def test_classes(statement: str, name: str, code: str, expected: bool) -> None:
    assert kept(statement, code, name) is expected


@pytest.mark.parametrize(
    ("statement", "code", "expected"),
    [
        ("Do not use sorted().", "def f(x): return sorted(x)", False),
        ("Do not use sorted().", "def f(x): return max(x)", True),
        ("Do not use sorted().", "def f(x): x.sort(); return x", None),
        ("Do not use sorted().", "def sorted(x): return x", None),
        ("Do not use sorted().", "def f(x, key=sorted): return key(x)", False),
        ("Do not use sorted().", "def f(x):\n    # sorted(x)\n    return 'sorted'", True),
        ("Do not use the sum function.", "def f(x): return x.sum()", None),
        ("Do not use `.sort()`.", "def f(x): x.sort()", False),
        ("Do not use `.sort()`.", "class A:\n    def sort(self): pass\ndef f(x): A().sort()", None),
        ("Do not use `math.sqrt`.", "import math\ndef f(x): return math.sqrt(x)", False),
        ("Do not use `math.sqrt`.", "from math import sqrt\ndef f(x): return sqrt(x)", False),
        ("Do not use `math.sqrt`.", "from math import *\ndef f(x): return sqrt(x)", None),
        ("Do not use `math.sqrt`.", "import math as m\ndef f(x): return m.sqrt(x)", None),
        ("Do not use `math.sqrt`.", "def f(x): return x ** 0.5", True),
        ("Do not use itertools.", "import itertools\nx = 1", False),
        ("Do not use itertools.", "def f():\n    from itertools import chain\n    return chain", False),
        ("Do not import any modules.", "from typing import List\nx = 1", True),
        ("Do not import any modules.", "import os.path\nx = 1", False),
        ("Do not use any external libraries.", "import math\nimport numpy as np", False),
        ("Do not use any external libraries.", "import math", True),
        ("Do not use for loops.", "for x in y: pass", False),
        ("Do not use for loops.", "while x: pass", True),
        ("Do not use for loops.", "z = [x for x in y]", None),
        ("Write it using a lambda.", "f = lambda x: x", True),
        ("Write it using a lambda.", "def f(x): return x", False),
        ("Write it using regex.", "def f(x): return re.sub('a', 'b', x)", True),
        ("Write it using regex.", "def f(x): return x.replace('a', 'b')", False),
        ("Please use `Counter`.", "import collections\nx = collections.Counter()", None),
        ("Please use `Counter`.", "from collections import Counter", True),
    ],
)
def test_names_and_constructs(statement: str, code: str, expected: bool | None) -> None:
    assert kept(statement, code) is expected


@pytest.mark.parametrize(
    ("code", "recursive"),
    [
        ("def f(n): return n and f(n - 1)", True),
        ("def f(n): return g(n)\ndef g(n): return n and f(n - 1)", True),
        ("class S:\n    def f(self, n): return n and self.f(n - 1)", True),
        ("def f(n):\n    def go(k): return k and go(k - 1)\n    return go(n)", True),
        ("async def f(n): return n and await f(n - 1)", True),
        ("f = lambda n: n and f(n - 1)", True),
        ("def f(n): return [f, n]", True),
        ("def f(n):\n    while n: n -= 1\n    return n", False),
        ("def f(n): return g(n)\ndef g(n): return n", False),
        ("@f\ndef g(n): return n", False),
        ("def total(xs):\n    total = 0\n    for x in xs: total += x\n    return total", None),
        ("class S:\n    def f(self, n): return n and S().f(n - 1)", None),
        ("def pop(xs): return xs.pop()", None),
        ("class A:\n    def f(self): return 1\nclass B:\n    def f(self): return self.f()", None),
    ],
)
def test_recursion(code: str, recursive: bool | None) -> None:
    assert kept("Do not use recursion.", code) is (None if recursive is None else not recursive)
    assert kept("Write it using recursion.", code) is recursive


@pytest.mark.parametrize(("name", "demanding"), [("mbpp_train.jsonl.gz", 35), ("humaneval.jsonl.gz", 1)])
def test_reference_programs_keep_to_their_statements(name: str, demanding: int) -> None:
    """No rule misreads a statement so that a right program seems to disobey it."""
    found: list[Check] = []
    for problem in load(data_file(name)):
        tree = parse(problem.reference or "")
        found += [] if tree is None else [check for check in checks(problem, tree) if "signature" not in check.text]
    assert len(found) >= demanding
    assert all(check.kept for check in found)
