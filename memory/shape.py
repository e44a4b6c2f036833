"""Programs compared by what they do, not by how they are written down: names, comments and layout do not count."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator, Set
from dataclasses import dataclass

_LEFT_OUT = {"ctx", "kind", "type_comment", "type_ignores", "type_params", "annotation", "returns", "simple"}
"""Fields of nodes that do not change what a program does, or that some versions of Python lack."""
_NAMES = {"id", "arg", "name", "names", "rest"}
"""Fields that hold a variable's name, or a list of such names."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A program, or one function of it, without the names it chose."""

    digest: str
    """SHA-256, hexadecimal; the same on every supported version of Python."""
    nodes: int
    """Size: nodes of the syntax tree that count."""


def shape(tree: ast.AST) -> Shape | None:
    """Equal for programs that differ only in names they bind themselves, annotations, docstrings, imports, comments and
    layout. None for a tree that is nested too deeply, or holds a number too long to print.

    Every name bound in the tree is replaced by the number of its first appearance, wherever it stands, so that programs
    of equal shape differ by a one-to-one renaming. Names that can be reached in other ways stay: attributes, what a
    class defines, arguments that a call names.
    """
    try:
        parts = list(_parts(tree, _Names(set(_bound(tree)) - set(_reached(tree)), {})))
    except (RecursionError, ValueError):
        return None
    return Shape(hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest(), parts.count("("))


@dataclass(frozen=True, slots=True)
class _Names:
    """The names that do not count, and the numbers that those met so far got."""

    free: Set[str]
    numbers: dict[str, int]


def _bound(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case (
                ast.FunctionDef(name=str(name))
                | ast.AsyncFunctionDef(name=str(name))
                | ast.ClassDef(name=str(name))
                | ast.ExceptHandler(name=str(name))
                | ast.MatchAs(name=str(name))
                | ast.MatchStar(name=str(name))
                | ast.MatchMapping(rest=str(name))
                | ast.arg(arg=str(name))
                | ast.Name(id=str(name), ctx=ast.Store() | ast.Del())
            ):
                yield name
            case _:
                pass


def _reached(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=str(name)) | ast.keyword(arg=str(name)):
                yield name
            case ast.MatchClass(kwd_attrs=names):
                yield from names
            case ast.ClassDef(body=body):
                for statement in body:
                    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                        yield statement.name
                    else:
                        yield from _bound(statement)
            case _:
                pass


def _parts(node: ast.AST, names: _Names) -> Iterator[str]:
    """The tree in order of writing: an opening bracket and the class of each node, its fields, a closing bracket."""
    if isinstance(node, ast.AnnAssign):
        node = ast.Expr(node.target) if node.value is None else ast.Assign([node.target], node.value)
    yield "("
    yield type(node).__name__
    for field, value in ast.iter_fields(node):
        if field not in _LEFT_OUT:
            yield from _value(field, value, names)
    yield ")"


def _value(field: str, value: object, names: _Names) -> Iterator[str]:
    match value:
        case ast.AST():
            yield from _parts(value, names)
        case list():
            yield "["
            for item in value:
                if not (field == "body" and _says_nothing(item)):
                    yield from _value(field, item, names)
            yield "]"
        case str() if field in _NAMES and value in names.free:
            yield f"name {names.numbers.setdefault(value, len(names.numbers))}"
        case _:
            yield repr(value)


def _says_nothing(node: object) -> bool:
    """A text that stands alone (a docstring), `pass` or an import."""
    return isinstance(node, ast.Pass | ast.Import | ast.ImportFrom) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    )
