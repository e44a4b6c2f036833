"""Assert statements, at the start of a line or within one, over one line or several."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator

from agent.examples.values import MAX_EXAMPLE, closing
from memory.records import AssertTest
from memory.syntax import compiles, parse

_ASSERT = re.compile(r"(?<!>>> )(?<![\w.])assert[ (](?=.)")
_END = re.compile(r"[(\[{\n]|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'")
_MAX_ASSERTS = 500


def asserts(text: str) -> Iterator[AssertTest]:
    """One test per statement that calls something and needs no variable of its surroundings."""
    for number, match in enumerate(_ASSERT.finditer(text)):
        if number == _MAX_ASSERTS:
            return
        source = _statement(text, match.start())
        if source is not None:
            yield AssertTest(source=source)


def _statement(text: str, start: int) -> str | None:
    """The assert statement at `start`: to the end of its logical line, or to the backtick that closes it in prose."""
    line = text[start : _logical_end(text, start)].strip()
    for source in (line, line.partition("`")[0].strip(), line.rstrip(".;, ")):
        tree = parse(source)
        if tree is not None and len(tree.body) == 1 and isinstance(tree.body[0], ast.Assert):
            return source if is_check(tree.body[0].test) and compiles(source) else None
    return None


def _logical_end(text: str, start: int) -> int:
    """The line break that no bracket encloses."""
    position = start
    while True:
        mark = _END.search(text, position, start + MAX_EXAMPLE)
        if mark is None:
            return min(len(text), start + MAX_EXAMPLE)
        if mark[0] == "\n":
            return mark.start()
        if mark[0] in "([{":
            end = closing(text, mark.start())
            if end is None:
                line_end = text.find("\n", mark.start())
                return line_end if line_end >= 0 else len(text)
            position = end
        else:
            position = mark.end()


def is_check(node: ast.expr) -> bool:
    """Whether the expression calls something of the program: a name that is no built-in one, or a method of a call.

    Names that are only read, not called, must be built-in: others are variables of code that is not here.
    """
    called = {id(child.func) for child in ast.walk(node) if isinstance(child, ast.Call)}
    bound = {
        child.id for child in ast.walk(node) if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store)
    } | {argument.arg for child in ast.walk(node) if isinstance(child, ast.Lambda) for argument in child.args.args}
    of_program = False
    for child in ast.walk(node):
        if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Load) and child.id not in bound:
            if id(child) in called:
                of_program |= not hasattr(builtins, child.id)
            elif not hasattr(builtins, child.id) and child.id not in _MODULES:
                return False
    return of_program


_MODULES = frozenset({"math", "datetime", "collections", "itertools", "string", "re", "np", "sys", "inf", "pi", "nan"})
"""Names that the prelude imports, or that say themselves where they come from."""
