"""Where the statements of a program stand.

A statement is known by its place in the order of the source. Standard library only: this module runs inside the jail.
"""

from __future__ import annotations

import ast
import re
from bisect import bisect_right
from collections.abc import Callable
from typing import Any

Span = tuple[int, int, int, int]
"""First line, first column, last line, last column; lines from 1, columns in characters from 0, end exclusive."""

_BLOCKS = ("body", "orelse", "finalbody")
_PLAIN_HEADER = re.compile(rb"(async\s+)?(def|class|try)\b\s*\w*(\s*\(\s*\))?")
_CLOSING = re.compile(rb"[\s,)]*\)(?=\s*(:|->))")
_NOTHING = re.compile(rb"[\s,)]*(#.*)?$")
_CLOSING_LINES = 5
"""Over so many lines the closing brackets of a header are looked for."""


class Statements:
    """The statements of a parsed program by position."""

    def __init__(self, tree: ast.Module, source: str) -> None:
        self._source = source
        self._ascii = source.isascii()
        self._lines: list[bytes] | None = None
        self.blocks = _blocks(tree)
        self.ordered = sorted(
            (stmt for _, block in self.blocks for stmt in block), key=lambda stmt: (stmt.lineno, stmt.col_offset)
        )
        self._starts = [(stmt.lineno, stmt.col_offset) for stmt in self.ordered]

    def spans(self) -> list[Span]:
        """Span of every statement, in order; of a compound one its header."""
        return [self._span(stmt) for stmt in self.ordered]

    def span(self, line: int, column: int) -> Span | None:
        """Span of the innermost statement around a position (column in UTF-8 bytes); of a compound one its header."""
        index = self.index(line, column)
        return None if index is None else self._span(self.ordered[index])

    def index(self, line: int, column: int) -> int | None:
        """Number of the innermost statement around a position (column in UTF-8 bytes)."""
        index = bisect_right(self._starts, (line, column)) - 1
        while index >= 0:
            stmt = self.ordered[index]
            if (line, column) < (stmt.end_lineno or stmt.lineno, stmt.end_col_offset or 0):
                return index
            index -= 1
        return None

    def owners(self) -> dict[int, int]:
        """Number of the innermost statement that begins on a line, or else reaches over it, for every line."""
        found: dict[int, int] = {}
        for index, stmt in enumerate(self.ordered):
            for line in range(stmt.lineno, (stmt.end_lineno or stmt.lineno) + 1):
                found[line] = index
        return found

    def shared_lines(self) -> set[int]:
        """Lines on which more than one statement begins."""
        seen: set[int] = set()
        return {line for line, _ in self._starts if line in seen or seen.add(line)}  # type: ignore[func-returns-value]

    def _span(self, stmt: ast.stmt) -> Span:
        line, column = stmt.lineno, stmt.col_offset
        header = _HEADERS.get(type(stmt))
        if header is not None:
            last, end = self._header_end(stmt, header(stmt))
        else:
            last, end = stmt.end_lineno or line, stmt.end_col_offset or column
        if self._ascii:
            return (line, column, last, end)
        return (line, self._characters(line, column), last, self._characters(last, end))

    def _header_end(self, stmt: ast.stmt, parts: list[Any]) -> tuple[int, int]:
        if not parts:
            found = _PLAIN_HEADER.match(self._line(stmt.lineno), stmt.col_offset)
            return stmt.lineno, found.end() if found else stmt.col_offset
        last, end = max((part.end_lineno or part.lineno, part.end_col_offset or 0) for part in parts)
        return self._past_brackets(last, end)

    def _past_brackets(self, last: int, end: int) -> tuple[int, int]:
        line, column = last, end
        while line < last + _CLOSING_LINES:
            closing = _CLOSING.match(self._line(line), column)
            if closing is not None:
                return line, closing.end()
            if _NOTHING.match(self._line(line), column) is None:
                break
            line, column = line + 1, 0
        return last, end

    def _characters(self, line: int, column: int) -> int:
        return len(self._line(line)[:column].decode("utf-8", "replace"))

    def _line(self, number: int) -> bytes:
        if self._lines is None:
            text = self._source.replace("\r\n", "\n").replace("\r", "\n")
            self._lines = text.encode("utf-8", "surrogatepass").split(b"\n")
        return self._lines[number - 1] if number <= len(self._lines) else b""


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
        waiting += getattr(node, "handlers", ())
        waiting += getattr(node, "cases", ())
    return found


def _of_function(stmt: Any) -> list[Any]:
    if stmt.returns is not None:
        return [stmt.returns]
    given = stmt.args
    parts = [*given.posonlyargs, *given.args, given.vararg, *given.kwonlyargs, given.kwarg]
    return [part for part in (*parts, *given.defaults, *given.kw_defaults) if part is not None]


def _of_with(stmt: Any) -> list[Any]:
    return [stmt.items[-1].optional_vars or stmt.items[-1].context_expr]


_HEADERS: dict[type[ast.stmt], Callable[[Any], list[Any]]] = {
    ast.If: lambda stmt: [stmt.test],
    ast.While: lambda stmt: [stmt.test],
    ast.For: lambda stmt: [stmt.iter],
    ast.AsyncFor: lambda stmt: [stmt.iter],
    ast.With: _of_with,
    ast.AsyncWith: _of_with,
    ast.Match: lambda stmt: [stmt.subject],
    ast.ClassDef: lambda stmt: [*stmt.bases, *(keyword.value for keyword in stmt.keywords)],
    ast.FunctionDef: _of_function,
    ast.AsyncFunctionDef: _of_function,
    ast.Try: lambda stmt: [],
    ast.TryStar: lambda stmt: [],
}
"""Of every compound statement the expressions of which one ends its header; none if it has only keywords and a name."""
