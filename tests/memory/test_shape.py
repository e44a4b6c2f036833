"""Programs compared without the names they choose."""

from __future__ import annotations

import pytest

from memory.shape import Shape, shape
from memory.syntax import parse

PROGRAM = """\
def mean(values):
    total = 0
    for value in values:
        total += value
    return total / len(values)
"""


def shape_of(source: str) -> Shape | None:
    tree = parse(source)
    assert tree is not None, source
    return shape(tree)


@pytest.mark.parametrize(
    "same",
    [
        PROGRAM.replace("values", "xs").replace("value", "x").replace("mean", "average"),
        "# so\n" + PROGRAM.replace("    ", "\t").replace(" / ", "/"),
        PROGRAM.replace("(values):", "(values: list[float]) -> float:\n    '''The mean.'''"),
        PROGRAM.replace("total = 0", "total: int = 0"),
        f"import math\n\n{PROGRAM}",
    ],
)
def test_names_layout_annotations_docstrings_and_imports_do_not_count(same: str) -> None:
    assert shape_of(same) == shape_of(PROGRAM)


@pytest.mark.parametrize(
    "other",
    [
        PROGRAM.replace("+=", "-="),
        PROGRAM.replace("= 0", "= 1"),
        PROGRAM.replace("= 0", "= False"),
        PROGRAM.replace("len", "max"),
        PROGRAM.replace("in values", "in total"),
        PROGRAM.replace("value in", "total in"),
        PROGRAM.replace("    return", "        return"),
    ],
)
def test_what_a_program_does_counts(other: str) -> None:
    assert shape_of(other) != shape_of(PROGRAM)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("def f(a, b):\n    return a - b\nf(a=1, b=2)", "def f(b, a):\n    return b - a\nf(a=1, b=2)"),
        ("class C:\n    x = 1\n    y = 2\nC().x", "class C:\n    y = 1\n    x = 2\nC().x"),
        (
            "class S:\n    def put(): 1 / 0\n    def get(): 2 / 0",
            "class S:\n    def get(): 1 / 0\n    def put(): 2 / 0",
        ),
        ("class P:\n    x: int\n    y: int", "class P:\n    y: int\n    x: int"),
        ("f'{a}'", "f'{b}'"),
        ("x = a.b", "x = a.c"),
    ],
)
def test_names_that_others_reach_count(one: str, other: str) -> None:
    assert shape_of(one) != shape_of(other)


def test_the_size_is_that_of_the_tree() -> None:
    small, large = shape_of("x = 1"), shape_of(PROGRAM)
    assert small is not None and large is not None
    assert 0 < small.nodes < large.nodes


def test_the_digest_is_the_same_on_every_python() -> None:
    """The file of the benchmark's hashes must be right on all."""
    assert shape_of(PROGRAM) == Shape("0a19898784b7482bb7c5beeae00690c16d47844c0ea703aa07c8ea898ebb30f6", 21)


def test_what_is_no_python_has_no_tree() -> None:
    assert parse("def f(:") is None
    assert parse("\0") is None


def test_deep_nesting_and_endless_numbers_have_no_shape() -> None:
    assert shape_of("-" * 600 + "x") is None
    assert shape_of(f"x = 0x{'f' * 5000}") is None
