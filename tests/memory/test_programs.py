"""When two programs are the same."""

from __future__ import annotations

import ast

from hypothesis import assume, given
from hypothesis import strategies as st

from memory.programs import normal, normal_fix, program_digest, shape_digest
from tests.memory.experiences import lesson, solution

PROGRAM = "def f(xs):\n    total = 0\n    for x in xs:\n        total += x\n    return total\n"


def test_layout_comments_and_docstrings_do_not_count() -> None:
    assert normal(PROGRAM) == normal(
        '# sum\ndef f( xs ):\n    "Adds."\n    total=0\n    for x in xs: total += x\n    return(total)'
    )
    assert normal(PROGRAM) != normal(PROGRAM.replace("0", "1"))
    assert normal(PROGRAM) != normal(PROGRAM.replace("total", "result"))


def test_no_python_is_compared_without_white_space() -> None:
    assert normal("int main( ) {\n}") == normal("int main() { }")
    assert normal("x = " + "9" * 5_000) == "x=" + "9" * 5_000
    assert normal("(" * 10_000) == "(" * 10_000


def test_names_that_a_program_chose_tell_a_reader_nothing() -> None:
    renamed = PROGRAM.replace("total", "result").replace("xs", "values").replace("f(", "add(")
    kept, other = (shape_digest(solution(1, code=code)) for code in (PROGRAM, PROGRAM.replace("+=", "-=")))
    assert shape_digest(solution(2, code=renamed)) == kept != other
    assert shape_digest(solution(1, code="int main() { }")) == shape_digest(solution(1, code="int main( ) {\n}"))


def test_a_fix_is_its_changed_lines() -> None:
    diff = "--- a\n+++ b\n@@ -1,2 +1,2 @@\n def f(x):\n-    return x\n+    return x + 1\n+    # done\n"
    assert normal_fix(diff) == "-returnx\n+returnx+1"


def test_lessons_and_solutions_differ_in_what_counts() -> None:
    assert program_digest(lesson(1)) == program_digest(lesson(1, code="other = 1"))
    assert program_digest(solution(1)) != program_digest(solution(1, code="other = 1"))


@given(st.text())
def test_any_text_has_a_normal_form(text: str) -> None:
    assert isinstance(normal(text), str)
    assume(not text.rstrip().endswith("\\"))  # which takes the next line in, so that it is another program
    assert shape_digest(solution(1, code=text)) == shape_digest(solution(1, code=text + "\n\n"))


@given(st.lists(st.sampled_from(["a = 1", "b = a + 1", "def g(x):\n    return x * b", "print(a)"]), min_size=1))
def test_a_normal_form_is_its_own(lines: list[str]) -> None:
    once = normal("\n".join(lines))
    assert normal(once) == once
    assert ast.dump(ast.parse(once)) == ast.dump(ast.parse("\n".join(lines)))
