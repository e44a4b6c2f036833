"""The words of an experience."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from memory.words import literal, meaning, words_of
from tests.memory.experiences import lesson, solution


def test_identifiers_and_their_parts() -> None:
    assert words_of(["two_sum HTTPServer.readLine x2 a"]) == (
        *("two_sum", "two", "sum", "httpserver", "http", "server", "readline", "read", "line", "x2"),
    )


def test_other_alphabets() -> None:
    assert words_of(["größte Zahl", "число"]) == ("größte", "zahl", "число")


def test_a_solution_is_found_by_its_gist_a_lesson_by_its_error() -> None:
    assert meaning(solution(1, "reverse a list")) == "reverse a list"
    assert meaning(lesson(1)).splitlines() == ["TypeError: unsupported operand number_1", "return x + y_1"]
    assert literal(lesson(1))["typeerror"] == 1


def test_a_pasted_file_does_not_fill_the_index() -> None:
    assert len(literal(solution(1, " ".join(f"name{number:03d}" for number in range(1_000))))) == 128
    assert words_of(["x" * 1_000]) == ()


@given(st.text())
def test_any_text_has_words(text: str) -> None:
    assert words_of(words_of([text])) == tuple(dict.fromkeys(words_of(words_of([text]))))
    assert all(len(word) > 1 for word in words_of([text]))
