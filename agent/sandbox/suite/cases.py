"""Cuts test source into cases: every top-level statement that asserts something is one, and all of them run.

Standard library only: this module runs inside the jail.
"""

from __future__ import annotations

import ast
from typing import Any, TypeGuard

from agent.sandbox.program.trace import place_of

RECORDER = "__burnish_case__"
"""Name under which the test code finds the object with `begin`, `passed`, `fail`, `left` and `right`."""
_NAME_LENGTH = 160
_RIGHT = "__burnish_right__"
_LOAD, _STORE = ast.Load(), ast.Store()
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


def nodes_of(tree: ast.AST) -> list[ast.AST]:
    """`tree` and all nodes below it, as `ast.walk` finds them but for the contexts of names."""
    found = [tree]
    for node in found:
        for name in node._fields:
            value = getattr(node, name, None)
            if isinstance(value, ast.AST):
                if name != "ctx":
                    found.append(value)
            elif isinstance(value, list):
                found += [item for item in value if isinstance(item, ast.AST)]
    return found


def record_operands(nodes: list[ast.AST]) -> None:
    """Let every `assert left <op> right` among these nodes tell its two values, in place.

    In `assert f(xs) == sorted(xs)`, or the same with unittest, the right side is computed first: the program could else
    empty `xs` to change what is expected of it.
    """
    for node in nodes:
        if isinstance(node, ast.Assert) and isinstance(node.test, ast.Compare) and len(node.test.ops) == 1:
            left, right = node.test.left, node.test.comparators[0]
            node.test.left = _told("left", left)
            node.test.comparators[0] = _told("right", right)
            if _expects_of_an_argument(left, right):
                known, node.test.comparators[0] = _known_first(node.test.comparators[0])
                node.test = _after(known, node.test)
        elif _is_comparing_method(node) and _expects_of_an_argument(*node.args[:2]):
            known, node.args[1] = _known_first(node.args[1])
            node.args[0] = _after(known, node.args[0])


def _is_comparing_method(node: ast.AST) -> TypeGuard[ast.Call]:
    """`self.assertEqual(a, b)` and the like."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr.startswith("assert")
        and node.func.attr.endswith("Equal")
        and len(node.args) >= 2
    )


def _known_first(value: ast.expr) -> tuple[ast.expr, ast.expr]:
    """What computes `value` and keeps it, and what reads it."""
    place = place_of(value)
    kept = ast.NamedExpr(target=ast.Name(id=_RIGHT, ctx=_STORE, **place), value=value, **place)
    return kept, ast.Name(id=_RIGHT, ctx=_LOAD, **place)


def _after(first: ast.expr, then: ast.expr) -> ast.expr:
    """The value of `then`, computed after `first`."""
    place = place_of(then)
    both = ast.Tuple(elts=[first, then], ctx=_LOAD, **place)
    return ast.Subscript(value=both, slice=ast.Constant(value=1, **place), ctx=_LOAD, **place)


def bound(tree: ast.AST) -> frozenset[str]:
    """Names that source gives a meaning: by assignment, definition, or an import that names them."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.alias):
            found.add((node.asname or node.name).split(".")[0])
    return frozenset(found)


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
        branch: Any = ast.parse(template).body[0]
        branch.body[0].body = [stmt]
        out.append(branch)
    return out


def _asserts(stmt: ast.stmt) -> bool:
    if isinstance(stmt, ast.Assert):
        return True
    if isinstance(stmt, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Expr | ast.Assign):
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
    """Whether `left` is a call and `right` is made of arguments of it alone, by built-in functions and operators."""
    if not isinstance(left, ast.Call):
        return False
    given = {node.id for argument in left.args for node in ast.walk(argument) if isinstance(node, ast.Name)}
    calls = [node for node in ast.walk(right) if isinstance(node, ast.Call)]
    functions = {call.func.id if isinstance(call.func, ast.Name) else "" for call in calls}
    used = {node.id for node in ast.walk(right) if isinstance(node, ast.Name)} - functions
    own = {node.id for node in ast.walk(right) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return functions <= _OF_VALUES and bool(used & given) and used <= given | own


def _told(side: str, value: ast.expr) -> ast.expr:
    place = place_of(value)
    recorder = ast.Name(id=RECORDER, ctx=_LOAD, **place)
    return ast.Call(
        func=ast.Attribute(value=recorder, attr=side, ctx=_LOAD, **place), args=[value], keywords=[], **place
    )
