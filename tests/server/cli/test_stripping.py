"""Statements without their examples."""

from __future__ import annotations

from agent.examples import find_tests
from agent.problems import load
from agent.stub import opening
from memory.records import Problem
from server.bench.stripping import stripped
from tests.data import data_file

STATEMENT = '''Complete this Python function.

```python
def f(xs):
    """Sum of the even numbers.
    f([2]) == 2, and f([]) returns 0.

    Example:
        xs = [1, 2]
        Output: 2

    Note: numbers are small.
    >>> f([1, 2])
    2
    """
```'''


def test_what_is_wanted_stays_and_what_comes_out_goes() -> None:
    problem = Problem(id="p", statement=STATEMENT, entry_point="f")
    left = stripped(problem)
    assert "Sum of the even numbers." in left and "Note: numbers are small." in left
    assert "[1, 2]" not in left and ">>>" not in left and "f([" not in left
    assert left.startswith("Complete this Python function.\n\n```python\ndef f(xs):\n") and left.endswith('"""\n```')


def test_no_example_is_left_in_humaneval() -> None:
    problems = load(data_file("humaneval.jsonl.gz"))
    for problem in problems:
        left = stripped(problem)
        assert find_tests(left, problem.entry_point) == (), problem.id
        assert len(left) > 100
    assert sum(opening(stripped(problem), problem.entry_point) is not None for problem in problems) >= 163
