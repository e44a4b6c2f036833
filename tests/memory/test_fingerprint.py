"""Texts compared by their words."""

from __future__ import annotations

import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.fingerprint import fingerprint, resemblance, shingles, sketch, words

STATEMENT = """\
Write a function.

```python
def twice(x):
    \"\"\"Return 2 * x, not x * 2.
    >>> twice(3)
    6
    \"\"\"
```"""
SHINGLES = st.frozensets(st.integers(0, 40))


@pytest.mark.parametrize(
    "same",
    [
        STATEMENT.replace("    ", "\t"),
        STATEMENT.replace("\n", "\r\n"),
        STATEMENT.upper(),
        STATEMENT.replace("```python\n", "").replace("```", ""),
        STATEMENT.replace("```python", "~~~ py").replace("```", "~~~"),
        STATEMENT.replace('"""', "'''"),
        STATEMENT.replace("twice(3)", "twice( 3 )"),
        textwrap.indent(STATEMENT, "# "),
        textwrap.indent(STATEMENT, "  // "),
        " ".join(STATEMENT.replace("```python", "").split()),
    ],
)
def test_layout_case_fences_and_comment_marks_do_not_count(same: str) -> None:
    assert fingerprint(same) == fingerprint(STATEMENT)


@pytest.mark.parametrize(
    "other",
    [
        "",
        STATEMENT.replace("6", "-6"),
        STATEMENT.replace("twice", "thrice"),
        STATEMENT.replace("2 * x", "2 + x"),
        STATEMENT.replace("not ", ""),
        STATEMENT + "!",
    ],
)
def test_words_and_signs_count(other: str) -> None:
    assert fingerprint(other) != fingerprint(STATEMENT)


@given(st.text())
def test_any_text_has_a_fingerprint(text: str) -> None:
    assert fingerprint(text) == fingerprint(f"\n  {text}\n\n")
    assert len(fingerprint(text)) == 64


def test_words_are_what_is_said() -> None:
    assert words('"Straße" — n_1 == 2.5!') == ["strasse", "n_1", "2", "5"]


def test_a_text_of_n_words_has_a_shingle_for_each_window() -> None:
    assert len(shingles(words("one two three four five"), 3)) == 3
    assert shingles(["one", "two"], 3) == shingles(["one", "two"], 2)
    assert shingles([], 3) == frozenset()
    assert shingles(words("a b c a b c a b c"), 3) == shingles(words("b c a b c a b"), 3)


@given(SHINGLES, SHINGLES)
def test_resemblance_is_symmetric_and_one_for_the_same(one: frozenset[int], other: frozenset[int]) -> None:
    assert resemblance(one, other) == resemblance(other, one)
    assert 0 <= resemblance(one, other) <= 1
    assert (resemblance(one, other) == 1) == (one == other and bool(one))


@given(SHINGLES, st.integers(1, 50))
def test_a_sketch_holds_the_smallest(every: frozenset[int], size: int) -> None:
    assert list(sketch(every, size)) == sorted(every)[:size]
