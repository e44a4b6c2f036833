"""The project's own benchmark is sound: references pass, and the hidden tests ask more than the examples show."""

from __future__ import annotations

import ast
import doctest
import subprocess
import sys
from pathlib import Path

import pytest

from agent.problems import load
from memory.records import CodeTest, Problem

PROBLEMS = load(Path(__file__).parent / "original.jsonl")
DOCTEST = """
import doctest, sys
failed, tried = doctest.testmod(sys.modules["__main__"])
sys.exit(failed > 0 or tried < 2)
"""


def hidden_source(problem: Problem) -> str:
    (test,) = problem.hidden
    assert isinstance(test, CodeTest)
    return test.source


def calls(source: str, name: str) -> set[str]:
    """Arguments of all calls of `name`, as normalised source."""
    found = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return {
        ", ".join(ast.unparse(argument) for argument in call.args)
        for call in found
        if isinstance(call.func, ast.Name) and call.func.id == name
    }


def test_there_are_enough_and_they_are_numbered() -> None:
    assert len(PROBLEMS) >= 44
    assert [problem.id for problem in PROBLEMS] == [f"Original/{number}" for number in range(len(PROBLEMS))]
    assert len({problem.entry_point for problem in PROBLEMS}) == len(PROBLEMS)


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.id)
def test_the_reference_passes_its_hidden_tests_and_its_examples(problem: Problem) -> None:
    program = f"{problem.reference}\n{hidden_source(problem)}\ncheck({problem.entry_point})\n{DOCTEST}"
    run = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, timeout=30)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.id)
def test_each_problem_is_complete(problem: Problem) -> None:
    assert problem.reference is not None
    assert problem.entry_point is not None
    functions = [node for node in ast.parse(problem.reference).body if isinstance(node, ast.FunctionDef)]
    (function,) = (node for node in functions if node.name == problem.entry_point)
    assert function.returns is not None
    assert all(argument.annotation is not None for argument in function.args.args)
    assert max(map(len, problem.reference.splitlines())) <= 120
    examples = doctest.DocTestParser().get_examples(ast.get_docstring(function) or "")
    hidden = hidden_source(problem)
    shown = set().union(*(calls(example.source, problem.entry_point) for example in examples))
    asserts = [node for node in ast.walk(ast.parse(hidden)) if isinstance(node, ast.Assert)]
    assert 2 <= len(examples) <= 3
    assert 6 <= len(asserts) <= 10
    assert len(calls(hidden, "candidate") - shown) >= 3
