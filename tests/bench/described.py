"""What a problem's statement says in words: the docstring of its stub, without examples."""

from __future__ import annotations

import ast

from agent.stub import code_tree
from memory.records import Problem
from memory.syntax import is_text
from server.bench.stripping import stripped


def stub(problem: Problem) -> ast.FunctionDef | None:
    """The definition of the entry point that the statement leaves to be written."""
    return _function(problem.statement, problem.entry_point)


def description(problem: Problem) -> str:
    """The first text in the body of that definition; of a statement without one, all of it."""
    statement = stripped(problem)
    function = _function(statement, problem.entry_point)
    if function is None:
        return statement
    return next(
        (ast.literal_eval(node.value) for node in function.body if isinstance(node, ast.Expr) and is_text(node)), ""
    )


def _function(statement: str, name: str | None) -> ast.FunctionDef | None:
    tree = code_tree(statement)
    body = [] if tree is None else tree.body
    return next((node for node in reversed(body) if isinstance(node, ast.FunctionDef) and node.name == name), None)
