"""Cuts test source into cases: every top-level statement that asserts something is one, and all of them run.

Standard library only: this module runs inside the jail.
"""

from __future__ import annotations

import ast

RECORDER = "__burnish_case__"
"""Name under which the test code finds the object with `begin`, `passed`, `fail`, `left` and `right`."""
_NAME_LENGTH = 160


def split(tree: ast.Module) -> list[str]:
    """Wrap each case of a script, or of the `check` it defines, in place. Returns the names of the cases in order of
    their numbers; none if nothing in the source can be told apart."""
    names: list[str] = []
    functions = {stmt.name for stmt in tree.body if isinstance(stmt, ast.FunctionDef)}
    checks = [stmt for stmt in tree.body if isinstance(stmt, ast.FunctionDef) and stmt.name == "check"]
    for check in checks:
        check.body = _wrap(check.body, names, set())
    tree.body = _wrap(tree.body, names, functions - {"check"})
    return names


def record_operands(tree: ast.Module) -> None:
    """Let every `assert left <op> right` tell its two values, in place."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert) and isinstance(node.test, ast.Compare) and len(node.test.ops) == 1:
            node.test.left = _told("left", node.test.left)
            node.test.comparators[0] = _told("right", node.test.comparators[0])
    ast.fix_missing_locations(tree)


def calls_check(tree: ast.Module) -> bool:
    """Whether the source itself calls its `check`."""
    return any(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "check"
        for stmt in tree.body
        if not isinstance(stmt, ast.FunctionDef)
        for node in ast.walk(stmt)
    )


def title(stmt: ast.AST) -> str:
    """Short source of a statement, for the name of its case."""
    text = " ".join(line.strip() for line in ast.unparse(stmt).splitlines())
    return text if len(text) <= _NAME_LENGTH else text[: _NAME_LENGTH - 3] + "..."


def _wrap(body: list[ast.stmt], names: list[str], functions: set[str]) -> list[ast.stmt]:
    out: list[ast.stmt] = []
    for stmt in body:
        if not _asserts(stmt) and not _calls_one_of(stmt, functions):
            out.append(stmt)
            continue
        number = len(names)
        names.append(title(stmt))
        template = (
            f"if {RECORDER}.begin({number}):\n"
            "    try:\n"
            "        pass\n"
            f"    except BaseException as {RECORDER}error:\n"
            f"        {RECORDER}.fail({RECORDER}error)\n"
            "    else:\n"
            f"        {RECORDER}.passed()\n"
        )
        branch = ast.parse(template).body[0]
        for node in ast.walk(branch):
            if isinstance(node, ast.Try):
                node.body = [stmt]
                break
        out.append(branch)
    return out


def _asserts(stmt: ast.stmt) -> bool:
    if isinstance(stmt, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return False
    return any(isinstance(node, ast.Assert) for node in ast.walk(stmt))


def _calls_one_of(stmt: ast.stmt, functions: set[str]) -> bool:
    return (
        isinstance(stmt, ast.Expr)
        and isinstance(stmt.value, ast.Call)
        and isinstance(stmt.value.func, ast.Name)
        and stmt.value.func.id in functions
    )


def _told(side: str, value: ast.expr) -> ast.expr:
    return ast.Call(
        func=ast.Attribute(value=ast.Name(id=RECORDER, ctx=ast.Load()), attr=side, ctx=ast.Load()),
        args=[value],
        keywords=[],
    )
