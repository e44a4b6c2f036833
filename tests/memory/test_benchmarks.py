"""HumanEval's problems are recognised however they are put; other tasks are not taken for them."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Callable
from importlib.resources import files

import pytest

from agent.problems import COMPLETE_REQUEST, load
from memory.benchmarks import benchmark_in, is_benchmark
from memory.records import Problem
from memory.syntax import is_text
from memory.wire import to_json
from server.bench.stripping import stripped
from tests.bench.described import description
from tests.bench.guard import mark, prompt
from tests.data import data_file

TALK = "I am new to this code base and would like some help before our meeting on Friday.\n\n"
THANKS = "\n\nPlease explain what you did in two sentences, and thank you very much for the quick answer!"


def chat(problem: Problem) -> str:
    return f"{TALK}{problem.statement}{THANKS}"


def unfenced(problem: Problem) -> str:
    return f"{TALK}{prompt(problem)}{THANKS}"


def indented(problem: Problem) -> str:
    return "class Solutions:\n" + textwrap.indent(prompt(problem).replace("    ", "\t"), "\t\t")


def commented(problem: Problem) -> str:
    assert problem.entry_point is not None
    says = textwrap.indent(textwrap.dedent(description(problem)).strip(), "# ", lambda _line: True)
    return f"{says}\ndef {problem.entry_point}(*arguments):\n    pass\n"


def wrapped(problem: Problem) -> str:
    return textwrap.fill(description(problem), 50)


def as_prose(problem: Problem) -> str:
    return f"Write a Python function for this: {' '.join(description(problem).split())} Thanks."


def without_examples(problem: Problem) -> str:
    return stripped(problem)


def renamed(problem: Problem) -> str:
    name = problem.entry_point or ""
    pattern = rf"\b{name}\b" if "_" in name else rf"\b{name}\s*\("
    return re.sub(
        pattern, "do_the_task(" if pattern.endswith("(") else "do_the_task", problem.statement, flags=re.IGNORECASE
    )


def loud(problem: Problem) -> str:
    return problem.statement.upper()


def everything(problem: Problem) -> str:
    bare = renamed(Problem(id="", statement=stripped(problem), entry_point=problem.entry_point))
    says = description(Problem(id="", statement=bare, entry_point="do_the_task"))
    return f"{TALK}{textwrap.fill(says.upper(), 40, initial_indent='> ', subsequent_indent='> ')}{THANKS}"


def solution(problem: Problem) -> str:
    """The canonical program without the prompt's docstring, formatted and named anew."""
    assert problem.reference is not None
    tree = ast.parse(problem.reference)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.body = [child for child in node.body if not is_text(child)] or [ast.Pass()]
            node.returns = None
    return f"Here you are:\n```python\n{ast.unparse(tree)}\n```\nIt runs in linear time."


WAYS = (
    chat, unfenced, indented, commented, wrapped, as_prose, without_examples, renamed, loud, everything,
)  # fmt: skip
TRIVIAL = {2, 16, 23, 27, 28, 34, 38, 41, 53}
"""Numbers of the problems whose canonical solution is hardly more than one call."""
TWINS = {"HumanEval/56": "HumanEval/61"}
"""The same description; the examples alone differ."""


@pytest.fixture(scope="module")
def human_eval() -> list[Problem]:
    return load(data_file("humaneval.jsonl.gz"))


@pytest.mark.parametrize("put", WAYS, ids=lambda put: put.__name__)
def test_every_problem_is_recognised_however_it_is_put(
    put: Callable[[Problem], str], human_eval: list[Problem]
) -> None:
    assert len(human_eval) == 164
    for problem in human_eval:
        assert benchmark_in(put(problem)) in {problem.id, TWINS.get(problem.id)}, put(problem)


def test_solutions_are_recognised_unless_trivial(human_eval: list[Problem]) -> None:
    missed = {problem.id for problem in human_eval if benchmark_in(solution(problem)) != problem.id}
    assert missed == {f"HumanEval/{number}" for number in TRIVIAL}


@pytest.mark.parametrize(
    "name", ["mbpp_train.jsonl.gz", "mbpp_validation.jsonl.gz", "leetcode_train.jsonl.gz", "apps_sample"]
)
def test_problems_and_solutions_of_other_files_are_not_taken_for_them(name: str) -> None:
    for problem in load(data_file(name)):
        assert benchmark_in(problem.statement) is None, problem.statement
        assert benchmark_in(problem.reference or "") is None, problem.reference


def test_the_shipped_hashes_are_those_of_the_file(human_eval: list[Problem]) -> None:
    shipped = files("memory").joinpath("benchmarks.jsonl").read_text(encoding="utf-8")
    assert shipped == "".join(f"{to_json(mark(problem))}\n" for problem in human_eval)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\t",
        "def add(a, b):\n    return a + b\n",
        "Write a function that returns the length of the longest list.",
        f"{COMPLETE_REQUEST}\n\n```python\ndef area(radius):\n    '''Area of a circle.'''\n```",
        "```\n" * 50,
        "\ud800 half a pair",
    ],
)
def test_ordinary_texts_are_no_benchmark(text: str) -> None:
    assert not is_benchmark(text)


def test_a_text_with_some_other_words_is_recognised(human_eval: list[Problem]) -> None:
    for problem in human_eval:
        said = description(problem).split()
        said[7::8] = ["other"] * len(said[7::8])
        assert is_benchmark(" ".join(said)), said


def test_a_huge_program_takes_time_in_proportion() -> None:
    assert not is_benchmark("def f():\n" + "".join(f"    v{number} = {number}\n" for number in range(15_000)))


@pytest.mark.parametrize("piece", ["word ", "# \n", "`", "#", "```\nx\n", "def f(:\n", "(", "'''", " ", "> "])
def test_a_huge_text_takes_time_in_proportion(piece: str) -> None:
    assert not is_benchmark(piece * (300_000 // len(piece)))
