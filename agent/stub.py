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
    node = _unfinished(tree, entry_point)
    if isinstance(node, ast.ClassDef):
        node = _only_method(node)
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return None
    first = node.body[0]
    says = is_text(first)
    last = first.end_lineno if says else first.lineno - 1
    if last is None or last < node.lineno or (says and first.lineno == node.lineno):
        return None
    return "".join(f"{line}\n" for line in source.split("\n")[:last]).lstrip("\n")


def called(statement: str, entry_point: str) -> str:
    """What tests of the entry point call: itself, or `Class().method` for a class of which the statement leaves one
    method to be written."""
    tree = code_tree(statement)
    node = None if tree is None else _unfinished(tree, entry_point)
    method = _only_method(node) if isinstance(node, ast.ClassDef) else None
    return entry_point if method is None else f"{entry_point}().{method.name}"


def _unfinished(tree: ast.Module, name: str | None) -> ast.stmt | None:
    """The last definition of this name, if it is to be written."""
    wanted = [node for node in tree.body if getattr(node, "name", None) == name and is_unfinished(node)]
    return wanted[-1] if wanted else None


def _only_method(node: ast.ClassDef) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    methods = [child for child in node.body if is_unfinished(child)]
    one = methods[0] if len(methods) == 1 else None
    return one if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) else None


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
