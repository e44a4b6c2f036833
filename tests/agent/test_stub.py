"""The statement's code up to where the program is to be written."""

from __future__ import annotations

import pytest

from agent.stub import called, opening

HUMANEVAL = '''Complete:

```python
from typing import List

def helper(x):
    return x

def f(xs: List[int]) -> int:
    """ Sum.
    >>> f([1])
    1
    """
```'''


def test_up_to_the_docstring() -> None:
    made = opening(HUMANEVAL, "f")
    assert made is not None and made.startswith("from typing import List\n") and made.endswith('    1\n    """\n')


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (
            "class Solution:\n    def two(self, a: int) -> int:\n",
            "class Solution:\n    def two(self, a: int) -> int:\n",
        ),
        ("def f(x):\n    pass\n", "def f(x):\n"),
        ("def f(x):\n    '''Doc.'''\n    ...\n", "def f(x):\n    '''Doc.'''\n"),
        ("def f(\n    x,\n):\n    raise NotImplementedError\n", "def f(\n    x,\n):\n"),
    ],
)
def test_headers(code: str, expected: str) -> None:
    assert opening(f"Write it:\n```python\n{code}```", "Solution" if "class" in code else "f") == expected


@pytest.mark.parametrize(
    "code", ["def f(x): pass\n", "def f(x):\n    return 1\n", "def g(x):\n    pass\n", "x = 1\n", "def f(x): 'doc'\n"]
)
def test_nothing_to_go_on_from(code: str) -> None:
    assert opening(f"```python\n{code}```", "f") is None
    assert opening("Write a function f.", "f") is None


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("class Solution:\n    def two(self, a: int) -> int:\n", "Solution().two"),
        ("class Solution:\n    def one(self):\n        return 1\n    def two(self, a):\n", "Solution().two"),
        ("class Solution:\n    def one(self):\n        pass\n    def two(self):\n        pass\n", "Solution"),
        ("def Solution(a):\n    pass\n", "Solution"),
        ("x = 1\n", "Solution"),
    ],
)
def test_what_tests_call(code: str, expected: str) -> None:
    assert called(f"Write it:\n```python\n{code}```", "Solution") == expected
