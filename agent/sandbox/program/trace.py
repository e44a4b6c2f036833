"""Which statements of a program were executed.

Hits are kept in a shared memory map, one byte per statement, so they outlive the process. Up to Python 3.11 a store is
compiled in front of each statement. From 3.12 on the interpreter reports each line once, and in code that has several
statements on a line each instruction once. Standard library only: this module runs inside the jail.
"""

from __future__ import annotations

import ast
import mmap
import sys
from os import pread, pwrite
from types import CodeType
from typing import Any, cast

from agent.sandbox.program.statements import Statements

PROGRAM = "<program>"
"""Pseudo file name of the program; its frames are recognised by it."""

MONITORING = sys.version_info >= (3, 12)
SLOWDOWN = 1.0 if MONITORING else 2.5
"""Upper bound of what tracing costs a program; CPU limits are stretched by it."""

HITS = "__burnish_hits__"
MAX_STATEMENTS = 1 << 16
"""Of a longer program nothing is traced."""
LAST_WORDS = MAX_STATEMENTS
"""Where, behind the hits, the stack of a process that hangs is written."""
SIZE = LAST_WORDS + (1 << 16)
"""Bytes of the file for both."""

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_LOAD, _STORE = ast.Load(), ast.Store()


class Hits:
    """The executed statements of a process, as seen through the file that holds them."""

    def __init__(self, fd: int, statements: int) -> None:
        self._fd = fd
        self._statements = statements

    def read(self) -> list[int]:
        """Numbers of the statements executed since `clear`."""
        data = pread(self._fd, self._statements, 0)
        found: list[int] = []
        index = data.find(1)
        while index >= 0:
            found.append(index)
            index = data.find(1, index + 1)
        return found

    def take(self) -> list[int]:
        """What `read` finds, and forget it."""
        found = self.read()
        if found:
            self.clear()
        return found

    def clear(self) -> None:
        """Forget what was executed so far."""
        pwrite(self._fd, bytes(self._statements), 0)


def instrument(statements: Statements) -> None:
    """Put `HITS[number] = 1` in front of every statement, in place."""
    numbers = {id(stmt): number for number, stmt in enumerate(statements.ordered)}
    for owner, block in statements.blocks:
        out: list[ast.stmt] = []
        for position, stmt in enumerate(block):
            if not _must_stay_first(owner, position, stmt):
                out.append(_hit(stmt, numbers[id(stmt)]))
            out.append(stmt)
        block[:] = out


def monitor(code: CodeType, statements: Statements, hits: mmap.mmap) -> None:
    """Report the statements of `code` and of all code made from it to `hits` (Python 3.12 and later)."""
    monitoring: Any = cast(Any, sys).monitoring
    tool, events = monitoring.COVERAGE_ID, monitoring.events
    owners, shared = statements.owners(), statements.shared_lines()
    places: dict[CodeType, list[int | None]] = {}

    def on_line(where: CodeType, line: int) -> object:
        number = owners.get(line)
        if number is not None:
            hits[number] = 1
        return monitoring.DISABLE

    def on_instruction(where: CodeType, offset: int) -> object:
        number = places[where][offset // 2]
        if number is not None:
            hits[number] = 1
        return monitoring.DISABLE

    if monitoring.get_tool(tool) is None:
        monitoring.use_tool_id(tool, "burnish")
    monitoring.register_callback(tool, events.LINE, on_line)
    monitoring.register_callback(tool, events.INSTRUCTION, on_instruction)
    waiting = [code]
    while waiting:
        current = waiting.pop()
        if shared and any(line in shared for _, _, line in current.co_lines()):
            places[current] = [
                statements.index(line, column) if line and column is not None else None
                for line, _, column, _ in current.co_positions()
            ]
            monitoring.set_local_events(tool, current, events.INSTRUCTION)
        else:
            monitoring.set_local_events(tool, current, events.LINE)
        waiting += [constant for constant in current.co_consts if isinstance(constant, CodeType)]


def rearm() -> None:
    """Let statements that were reported be reported again."""
    if MONITORING:
        cast(Any, sys).monitoring.restart_events()


def _must_stay_first(owner: ast.AST, position: int, stmt: ast.stmt) -> bool:
    if isinstance(stmt, ast.ImportFrom) and stmt.module == "__future__":
        return True
    return (
        position == 0
        and isinstance(stmt, ast.Expr)
        and isinstance(stmt.value, ast.Constant)
        and isinstance(stmt.value.value, str)
        and isinstance(owner, _DOCUMENTED)
    )


def place_of(node: ast.stmt | ast.expr) -> dict[str, Any]:
    """Where in the source `node` stands, for nodes that are put beside it or take its place."""
    return {
        "lineno": node.lineno, "col_offset": node.col_offset,
        "end_lineno": node.end_lineno, "end_col_offset": node.end_col_offset,
    }  # fmt: skip


def _hit(stmt: ast.stmt, number: int) -> ast.stmt:
    place = place_of(stmt)
    hits = ast.Name(HITS, _LOAD, **place)
    target = ast.Subscript(hits, ast.Constant(number, **place), _STORE, **place)
    return ast.Assign([target], ast.Constant(1, **place), **place)
