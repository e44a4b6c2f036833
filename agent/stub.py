"""The code that a statement carries: what it defines, and which definition is still to be written."""

from __future__ import annotations

import ast
import re

from agent.extract import extract
from memory.syntax import is_text, parse

_STARTS = re.compile(r"^(?:from|import|def|class|async def)\s", re.MULTILINE)


def code_tree(statement: str) -> ast.Module | None:
    """The statement's own code, fenced or from the first line that looks like code; a last header may lack its body."""
    read = _code(statement)
    return None if read is None else read[1]


def opening(statement: str, entry_point: str | None) -> str | None:
    """The statement's code up to where the body of the entry point is to be written, its docstring included; None if
    the statement holds no such beginning."""
    read = _code(statement)
    if read is None:
        return None
    source, tree = read
    wanted = [node for node in tree.body if getattr(node, "name", None) == entry_point and is_unfinished(node)]
    if not wanted:
        return None
    node: ast.AST = wanted[-1]
    if isinstance(node, ast.ClassDef):
        methods = [child for child in node.body if is_unfinished(child)]
        if len(methods) != 1:
            return None
        node = methods[0]
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    first = node.body[0]
    says = is_text(first)
    last = first.end_lineno if says else first.lineno - 1
    if last is None or last < node.lineno or (says and first.lineno == node.lineno):
        return None
    return "".join(f"{line}\n" for line in source.split("\n")[:last]).lstrip("\n")


def _code(statement: str) -> tuple[str, ast.Module] | None:
    code = extract(statement).code
    if not code:
        match = _STARTS.search(statement)
        if match is None:
            return None
        code = statement[match.start() :]
    for attempt in (
        code,
        code.rstrip() + "\n        pass\n",
        code.rstrip() + "\n    pass\n",
        code.rstrip() + " pass\n",
    ):
        tree = parse(attempt)
        if tree is not None:
            return attempt, tree
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
