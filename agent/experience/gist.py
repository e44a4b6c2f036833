"""What a task asks, in few words: experiences are found by it. Examples, code and layout are left out."""

from __future__ import annotations

import ast
import re

from agent.stub import code_tree, is_unfinished
from memory.records import Problem
from memory.syntax import parse

MAX_CHARS = 400
"""The embedding model reads 256 tokens, and what a task is about stands in its first sentences."""
_LOOKED_AT = 10_000
"""Characters of a statement; somebody may have pasted a book."""
_FENCE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_EXAMPLE = re.compile(
    r"^\s*(?:>>>|assert\b)|^\W*(?:for\s+)?(?:e\.?g\b|examples?\b|sample\b|input\b|output\b)|=>|->|➞|==", re.IGNORECASE
)
_CODE = re.compile(r"\s*(?:def|class|async def|from\s+\w+\s+import|import|@\w)\b")
_SENTENCE = re.compile(r"(?<=[.!?:\n])")
_FORM = re.compile(
    r"\b(?:markdown|code block|code snippet|complete the following|only (?:the )?code|starter code|self-contained)\b",
    re.IGNORECASE,
)
"""In sentences about the form of the answer, which very different tasks share."""
_SAYS_NOTHING = frozenset({"solution", "solve", "main", "f", "func", "function", "foo", "answer", "candidate"})
_PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")


def gist(problem: Problem) -> str:
    """The prose of the statement before its examples, with the words of the entry point's name before it; at most
    `MAX_CHARS`."""
    name = " ".join(_name_words(problem))
    prose = _docstring(problem) or _FENCE.sub("\n", problem.statement[:_LOOKED_AT])
    prose = "".join(sentence for sentence in _SENTENCE.split(prose) if not _FORM.search(sentence))
    kept: list[str] = []
    for line in prose.split("\n"):
        if _EXAMPLE.search(line):
            if kept:
                break
        elif line.strip() and not _CODE.match(line):
            kept.append(line)
    text = " ".join(" ".join(kept or [problem.statement]).split())
    return (f"{name}: {text}" if name else text)[:MAX_CHARS]


def signature(code: str, entry_point: str | None) -> str:
    """Header of the entry point as a program has it; empty if it has none."""
    tree = parse(code)
    for node in ast.walk(tree) if tree is not None else ():
        if getattr(node, "name", None) != entry_point:
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
            return f"def {node.name}({ast.unparse(node.args)}){returns}"
        if isinstance(node, ast.ClassDef):
            return f"class {node.name}"
    return ""


def _docstring(problem: Problem) -> str:
    """Of the unfinished definition that the statement holds."""
    tree = code_tree(problem.statement)
    for node in tree.body if tree is not None else ():
        if getattr(node, "name", None) == problem.entry_point and is_unfinished(node):
            assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            return ast.get_docstring(node) or ""
    return ""


def _name_words(problem: Problem) -> list[str]:
    """`find_maxValue` → find, max, value; nothing for a name that any task might have."""
    parts = [part.lower() for part in _PARTS.findall(problem.entry_point or "")]
    return [] if len(parts) == 1 and parts[0] in _SAYS_NOTHING else parts
