"""Beginnings of passing programs from which others are sampled (CodeRL, arXiv 2207.01780, section 3.3, "refine")."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from memory.records import Opinion
from memory.syntax import is_text, parse

LONGEST = 0.9
"""Share of a program's lines that its seed may have at most."""
DOUBT = 0.5
"""A seed ends before the first place at which the critic believes less in what stands there."""


def beginnings(code: str) -> list[str]:
    """What stands before each statement of a function's body, shortest first; each ends with a whole line."""
    tree = parse(code)
    lines = code.splitlines(keepends=True)
    if tree is None:
        return []
    starts = {
        statement.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt) and not isinstance(node, ast.Module)
        for statement in _body(node)
    }
    return ["".join(lines[: start - 1]) for start in sorted(starts) if 1 < start <= LONGEST * len(lines) + 1]


def seed(begun: Sequence[str], opinions: Sequence[Opinion]) -> str | None:
    """The beginning that the critic thinks most likely to end well, or None if there is none."""
    best: tuple[float, str] | None = None
    for text, opinion in zip(begun, opinions, strict=True):
        if best is not None and opinion.passed < DOUBT <= best[0]:
            break
        if best is None or opinion.passed >= best[0]:
            best = (opinion.passed, text)
    return None if best is None else best[1]


def _body(node: ast.stmt) -> list[ast.stmt]:
    """Statements inside a compound statement, its docstring apart."""
    found: list[ast.stmt] = []
    for name in ("body", "orelse", "finalbody"):
        found += getattr(node, name, [])
    for handler in getattr(node, "handlers", []):
        found += handler.body
    for case in getattr(node, "cases", []):
        found += case.body
    return found[1:] if found and is_text(found[0]) else found
