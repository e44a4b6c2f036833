"""Programs compared: what makes two of them the same, or nearly the same."""

from __future__ import annotations

import ast
from hashlib import sha256

from memory.records import Experience
from memory.shape import shape
from memory.syntax import is_text, parse


def normal(code: str) -> str:
    """The program without comments, docstrings and layout; of what is no Python the text without white space."""
    tree = parse(code)
    if tree is None:
        return "".join(code.split())
    _drop_docstrings(tree)
    return _written(tree) or "".join(code.split())


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
    """32 hexadecimal digits: equal for experiences that would tell a reader the same, copies with other names too."""
    if experience.kind == "lesson":
        return _digest(normal_fix(experience.fix))
    tree = parse(experience.code)
    found = shape(tree) if tree is not None else None
    return found.digest[:32] if found is not None else _digest(normal(experience.code))


def _written(tree: ast.Module) -> str | None:
    try:
        return ast.unparse(tree)
    except (ValueError, RecursionError):  # a whole number too long to print, or a tree too deep
        return None


def _drop_docstrings(tree: ast.Module) -> None:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and is_text(body[0]):
            node.body = body[1:] or [ast.Pass()]  # type: ignore[attr-defined]


def _digest(text: str) -> str:
    return sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]
