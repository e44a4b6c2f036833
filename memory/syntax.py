"""Python's parser for texts that may be anything: no exceptions, no warnings about the user's code on our log."""

from __future__ import annotations

import ast
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


def parse(source: str) -> ast.Module | None:
    """The syntax tree, or None for what is no Python."""
    try:
        with _quiet():
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def expression(source: str) -> ast.expr | None:
    """The tree of one expression, or None for anything else."""
    try:
        with _quiet():
            return ast.parse(source.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def is_text(node: ast.AST) -> bool:
    """Whether a statement is nothing but a text: a docstring, where it stands first."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def compiles(source: str) -> bool:
    """Whether Python would run it: `return` outside a function parses and does not compile."""
    try:
        with _quiet():
            compile(source, "<example>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


_FILTERS = threading.Lock()
"""`catch_warnings` changes the filters of the whole process: two threads at once could leave them changed."""


@contextmanager
def _quiet() -> Iterator[None]:
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
