"""Cuts test source into cases: every top-level statement that asserts something is one, and all of them run.

Standard library only: this module runs inside the jail.
"""

from __future__ import annotations

import ast

RECORDER = "__burnish_case__"
"""Name under which the test code finds the object with `begin`, `passed`, `fail`, `left` and `right`."""
_NAME_LENGTH = 160
_RIGHT = "__burnish_right__"
_OF_VALUES = {"sorted", "sum", "min", "max", "set", "list", "tuple", "dict", "reversed", "any", "all"}
"""Built-in functions with which tests make an expectation out of an argument."""


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
    """Let every `assert left <op> right` tell its two values, in place.

    In `assert f(xs) == sorted(xs)` the right side is computed first: the program could else empty `xs` to change what
    is expected of it.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert) and isinstance(node.test, ast.Compare) and len(node.test.ops) == 1:
            left, right = node.test.left, node.test.comparators[0]
            node.test.left = _told("left", left)
            node.test.comparators[0] = _told("right", right)
            if _expects_of_an_argument(left, right):
                first = ast.NamedExpr(target=ast.Name(id=_RIGHT, ctx=ast.Store()), value=node.test.comparators[0])
                node.test.comparators[0] = ast.Name(id=_RIGHT, ctx=ast.Load())
                both = ast.Tuple(elts=[first, node.test], ctx=ast.Load())
                node.test = ast.Subscript(value=both, slice=ast.Constant(value=1), ctx=ast.Load())
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


def _expects_of_an_argument(left: ast.expr, right: ast.expr) -> bool:
    """Whether `left` is a call and `right` is made of an argument of it by built-in functions."""
    if not (isinstance(left, ast.Call) and isinstance(left.func, ast.Name)):
        return False
    given = {node.id for argument in left.args for node in ast.walk(argument) if isinstance(node, ast.Name)}
    calls = [node for node in ast.walk(right) if isinstance(node, ast.Call)]
    functions = {call.func.id if isinstance(call.func, ast.Name) else "" for call in calls}
    used = {node.id for node in ast.walk(right) if isinstance(node, ast.Name)} - functions
    return bool(calls) and functions <= _OF_VALUES and bool(used) and used <= given


def _told(side: str, value: ast.expr) -> ast.expr:
    return ast.Call(
        func=ast.Attribute(value=ast.Name(id=RECORDER, ctx=ast.Load()), attr=side, ctx=ast.Load()),
        args=[value],
        keywords=[],
    )
