"""The code that a statement carries: what it defines, and which definition is still to be written."""

from __future__ import annotations

import ast
import re

from agent.extract import extract
from agent.syntax import parse

_STARTS = re.compile(r"^(?:from|import|def|class|async def)\s", re.MULTILINE)


def code_tree(statement: str) -> ast.Module | None:
    """The statement's own code, fenced or from the first line that looks like code; a last header may lack its body."""
    code = extract(statement).code
    if not code:
        match = _STARTS.search(statement)
        if match is None:
            return None
        code = statement[match.start() :]
    for attempt in (
        code,
        code.rstrip() + " pass\n",
        code.rstrip() + "\n        pass\n",
        code.rstrip() + "\n    pass\n",
    ):
        tree = parse(attempt)
        if tree is not None:
            return tree
    return None


def is_unfinished(node: ast.stmt) -> bool:
    """A definition whose body says nothing: docstring, `pass`, `...` or `raise NotImplementedError` only."""
    if isinstance(node, ast.ClassDef):
        methods = [child for child in node.body if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)]
        return any(is_unfinished(method) for method in methods)
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    return all(
        isinstance(child, ast.Pass)
        or (isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant))
        or (isinstance(child, ast.Raise) and "NotImplementedError" in ast.unparse(child))
        for child in node.body
    )
