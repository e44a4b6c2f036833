"""Which statements of a program were executed, and where its statements stand.

Hits are kept in a shared memory map, one byte per line, so they outlive the process. Up to Python 3.11 a store is
compiled in front of each statement; from 3.12 on the interpreter reports each line once. Standard library only: this
module runs inside the jail.
"""

from __future__ import annotations

import ast
import mmap
import re
import sys
from bisect import bisect_right
from types import CodeType
from typing import Any, cast

PROGRAM = "<program>"
"""Pseudo file name of the program; its frames are recognised by it."""

MONITORING = sys.version_info >= (3, 12)
SLOWDOWN = 1.0 if MONITORING else 1.6
"""Upper bound of what tracing costs a program; CPU limits are stretched by it."""

HITS = "__burnish_hits__"

Span = tuple[int, int, int, int]
"""First line, first column, last line, last column; lines from 1, columns in characters from 0, end exclusive."""

_BLOCKS = ("body", "orelse", "finalbody")


class Statements:
    """The statements of a parsed program by position."""

    def __init__(self, tree: ast.Module, source: str) -> None:
        self._lines = source.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        self.blocks = _blocks(tree)
        self._statements = sorted(
            (stmt for _, block in self.blocks for stmt in block), key=lambda stmt: (stmt.lineno, stmt.col_offset)
        )
        self._starts = [(stmt.lineno, stmt.col_offset) for stmt in self._statements]

    @property
    def lines(self) -> set[int]:
        """Lines on which a statement begins."""
        return {line for line, _ in self._starts}

    def span(self, line: int, column: int) -> Span | None:
        """Span of the innermost statement around a position (column in UTF-8 bytes); of a block, its header only."""
        index = bisect_right(self._starts, (line, column)) - 1
        while index >= 0:
            stmt = self._statements[index]
            last, end = stmt.end_lineno or stmt.lineno, stmt.end_col_offset or 0
            if (line, column) < (last, end):
                header = _header_end(stmt)
                if header is not None:
                    last, end = self._past_brackets(*header)
                return (
                    stmt.lineno,
                    self._characters(stmt.lineno, stmt.col_offset),
                    last,
                    self._characters(last, end),
                )
            index -= 1
        return None

    def _past_brackets(self, line: int, column: int) -> tuple[int, int]:
        rest = self._lines[line - 1].encode("utf-8", "surrogatepass")[column:]
        closing = re.match(rb"[\s)]*\)(?=\s*(:|->))", rest)
        return line, column + (closing.end() if closing else 0)

    def _characters(self, line: int, column: int) -> int:
        if line > len(self._lines):
            return column
        return len(self._lines[line - 1].encode("utf-8", "surrogatepass")[:column].decode("utf-8", "replace"))


def instrument(tree: ast.Module, statements: Statements) -> None:
    """Put `HITS[line] = 1` in front of every statement of `tree`, in place."""
    for owner, block in statements.blocks:
        out: list[ast.stmt] = []
        for position, stmt in enumerate(block):
            if not _must_stay_first(owner, position, stmt):
                out.append(_hit(stmt))
            out.append(stmt)
        block[:] = out


def monitor(code: CodeType, lines: set[int], hits: mmap.mmap) -> None:
    """Report the lines of `code` and of all code made from it to `hits` (Python 3.12 and later)."""
    monitoring: Any = cast(Any, sys).monitoring
    tool = monitoring.COVERAGE_ID

    def on_line(where: CodeType, line: int) -> object:
        if where.co_filename == PROGRAM and line in lines:
            hits[line - 1] = 1
        return monitoring.DISABLE

    if monitoring.get_tool(tool) is None:
        monitoring.use_tool_id(tool, "burnish")
    monitoring.register_callback(tool, monitoring.events.LINE, on_line)
    waiting = [code]
    while waiting:
        current = waiting.pop()
        monitoring.set_local_events(tool, current, monitoring.events.LINE)
        waiting += [constant for constant in current.co_consts if isinstance(constant, CodeType)]


def executed_lines(hits: bytes) -> tuple[int, ...]:
    """1-based lines marked in `hits`."""
    return tuple(index + 1 for index, hit in enumerate(hits) if hit)


def _blocks(tree: ast.Module) -> list[tuple[ast.AST, list[ast.stmt]]]:
    found: list[tuple[ast.AST, list[ast.stmt]]] = []
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        for name in _BLOCKS:
            block = getattr(node, name, None)
            if isinstance(block, list) and block:
                found.append((node, block))
                waiting += block
        waiting += getattr(node, "handlers", [])
        waiting += getattr(node, "cases", [])
    return found


def _header_end(stmt: ast.stmt) -> tuple[int, int] | None:
    """Where the header of a compound statement ends; None for a simple statement."""
    body = getattr(stmt, "body", None) or getattr(stmt, "cases", None)
    if not isinstance(body, list):
        return None
    ends = [(stmt.lineno, stmt.col_offset)]
    for name, value in ast.iter_fields(stmt):
        if name in (*_BLOCKS, "handlers", "cases", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                ends += [
                    (node.end_lineno, node.end_col_offset or 0)
                    for node in ast.walk(child)
                    if isinstance(node, ast.expr | ast.arg) and node.end_lineno
                ]
    return max(ends)


def _must_stay_first(owner: ast.AST, position: int, stmt: ast.stmt) -> bool:
    if isinstance(stmt, ast.ImportFrom) and stmt.module == "__future__":
        return True
    return (
        position == 0
        and isinstance(owner, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and isinstance(stmt, ast.Expr)
        and isinstance(stmt.value, ast.Constant)
        and isinstance(stmt.value.value, str)
    )


def _hit(stmt: ast.stmt) -> ast.stmt:
    target = ast.Subscript(
        value=ast.Name(id=HITS, ctx=ast.Load()),
        slice=ast.Constant(value=stmt.lineno - 1),
        ctx=ast.Store(),
    )
    made = ast.Assign(targets=[target], value=ast.Constant(value=1))
    for node in ast.walk(made):
        ast.copy_location(node, stmt)
    return made
