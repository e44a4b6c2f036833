"""The program inside a model's answer, with its place kept: training maps lines of code back to tokens."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from memory.syntax import parse

_FENCE = re.compile(r"^[ \t]*```[ \t]*([\w+#.-]*)[^\n]*\n(.*?)(?:^[ \t]*```[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)
_PYTHON = frozenset({"", "python", "py", "python3"})


@dataclass(frozen=True, slots=True)
class Extracted:
    """`text[start:start + len(code)] == code`; `code` is empty if the text holds no program."""

    code: str
    start: int


def extract(text: str, entry_point: str | None = None) -> Extracted:
    """Find the program in `text`.

    Among the fenced Python blocks the first that defines `entry_point` wins, else the first that defines anything,
    else the longest. A fence that is never closed reaches to the end of the text. Without a fence the whole text
    counts if it is Python and does something.
    """
    blocks = [
        Extracted(match[2], match.start(2))
        for match in _FENCE.finditer(text)
        if match[1].lower() in _PYTHON and match[2].strip()
    ]
    if not blocks:
        return Extracted(text, 0) if _is_program(text) else Extracted("", 0)
    if entry_point:
        definition = re.compile(rf"^\s*(?:async\s+def|def|class)\s+{re.escape(entry_point)}\b", re.MULTILINE)
        for block in blocks:
            if definition.search(block.code):
                return block
    for block in blocks:
        if re.search(r"^\s*(?:async\s+def|def|class)\s+\w+", block.code, re.MULTILINE):
            return block
    return max(blocks, key=lambda block: len(block.code))


def _is_program(text: str) -> bool:
    tree = parse(text)
    if tree is None:
        return False
    inert = (ast.Name, ast.Constant, ast.Attribute, ast.Tuple, ast.BinOp, ast.UnaryOp, ast.Compare)
    return any(not (isinstance(node, ast.Expr) and isinstance(node.value, inert)) for node in tree.body)
