"""Near-duplicates of problems."""

from __future__ import annotations

from agent.problems import fenced, load
from memory.records import Problem
from tests.bench.overlap import NEAR, left_out, pairs, said_in
from tests.data import data_file

SUM = "def {name}({x}):\n    result = 0\n    for {y} in {x}:\n        result += {y}\n    return result\n"


def problem(id: str, says: str, reference: str) -> Problem:
    code = f'def f(x):\n    """\n    Write a function to {says}\n    >>> f([1])\n    1\n    """'
    return Problem(id=id, statement=f"Complete it.\n\n{fenced(code)}", entry_point="f", reference=reference)


SUMMING = problem("a", "find the sum of all numbers in the given list.", SUM.format(name="f", x="x", y="y"))
SAME_TEXT = problem("b", "find the sum of all the numbers in the given list.", "def f(x):\n    return sum(x)\n")
SAME_PROGRAM = problem("c", "add up what a basket holds.", SUM.format(name="g", x="basket", y="price"))
OTHER = problem("d", "reverse each word of a sentence.", "def f(x):\n    return [w[::-1] for w in x.split()]\n")


def test_only_what_the_task_is_counts_of_a_text() -> None:
    assert said_in(SUMMING) == "find the sum of all numbers in the given list."


def test_same_texts_and_same_programs_are_left_out() -> None:
    assert left_out([SUMMING], [SAME_TEXT, SAME_PROGRAM, OTHER]) == {"b", "c"}
    text, program = pairs([SUMMING], [SAME_TEXT, SAME_PROGRAM, OTHER])
    assert text.resemblance >= NEAR and not text.same_solution
    assert program.resemblance < NEAR and program.same_solution


def test_a_program_that_may_solve_anything_is_no_evidence() -> None:
    length = "def f(x):\n    return len(x)\n"
    assert left_out([problem("a", "count letters.", length)], [problem("b", "measure a queue.", length)]) == frozenset()


def test_a_file_is_its_own_near_duplicate() -> None:
    problems = [SUMMING, SAME_PROGRAM, OTHER]
    assert left_out(problems, problems) == {"a", "c", "d"}


def test_mbpp_train_and_validation() -> None:
    """Read and judged: the same task in other words, or with one word exchanged."""
    train, validation = load(data_file("mbpp_train.jsonl.gz")), load(data_file("mbpp_validation.jsonl.gz"))
    assert {int(id.removeprefix("MBPP/")) for id in left_out(train, validation)} == {
        527, 529, 534, 537, 541, 542, 546, 549, 554, 563, 564, 577, 585, 591, 594, 595, 600,
    }  # fmt: skip
