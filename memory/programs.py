"""Programs compared: what makes two of them the same, or nearly the same."""

from __future__ import annotations

import ast
import warnings
from hashlib import sha256

from memory.records import Experience


def normal(code: str) -> str:
    """The program without comments, docstrings and layout; of what is no Python the text without white space."""
    tree = _tree(code)
    if tree is None:
        return "".join(code.split())
    _drop_docstrings(tree)
    return _written(tree) or "".join(code.split())


def shape(code: str) -> str:
    """As `normal`, and the names that the program chose itself are numbered: equal for renamed copies."""
    tree = _tree(code)
    if tree is None:
        return normal(code)
    _drop_docstrings(tree)
    chosen = _chosen(tree)
    numbered: dict[str, str] = {}
    for node in ast.walk(tree):
        for field in ("id", "arg", "name"):
            name = getattr(node, field, None)
            if isinstance(name, str) and name in chosen:
                setattr(node, field, numbered.setdefault(name, f"_{len(numbered)}"))
    return _written(tree) or normal(code)


def normal_fix(diff: str) -> str:
    """The removed and added lines of a unified diff, without comments, white space and places."""
    lines = []
    for line in diff.splitlines():
        if line.startswith(("-", "+")) and not line.startswith(("---", "+++")):
            text = "".join(line[1:].split())
            if text and not text.startswith("#"):
                lines.append(line[0] + text)
    return "\n".join(lines)


def program_digest(experience: Experience) -> str:
    """32 hexadecimal digits: equal for experiences of one problem that are the same."""
    return _digest(normal_fix(experience.fix) if experience.kind == "lesson" else normal(experience.code))


def shape_digest(experience: Experience) -> str:
    """32 hexadecimal digits: equal for experiences that would tell a reader the same."""
    return _digest(normal_fix(experience.fix) if experience.kind == "lesson" else shape(experience.code))


def _tree(code: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _written(tree: ast.Module) -> str | None:
    try:
        return ast.unparse(tree)
    except (ValueError, RecursionError):  # a whole number too long to print, or a tree too deep
        return None


def _drop_docstrings(tree: ast.Module) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:] or [ast.Pass()]


def _chosen(tree: ast.Module) -> set[str]:
    """Names that the program binds: functions, classes, parameters, variables."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


def _digest(text: str) -> str:
    return sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]
