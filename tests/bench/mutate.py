"""Small faults put into a program: what a model's almost right answers look like."""

from __future__ import annotations

import ast
import random
from collections.abc import Callable, Iterator
from functools import partial
from operator import setitem

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
_OPERATORS: dict[type[ast.operator], tuple[type[ast.operator], ...]] = {
    ast.Add: (ast.Sub, ast.Mult),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Add, ast.FloorDiv),
    ast.Div: (ast.FloorDiv, ast.Mult),
    ast.FloorDiv: (ast.Div, ast.Mod),
    ast.Mod: (ast.FloorDiv, ast.Mult),
    ast.Pow: (ast.Mult,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
    ast.BitXor: (ast.BitOr,),
    ast.LShift: (ast.RShift,),
    ast.RShift: (ast.LShift,),
}

Change = Callable[[], object]
"""Puts one fault into the tree that it was made for."""


def mutants(source: str, count: int, seed: str) -> list[str]:
    """At most `count` different programs, each with one fault; the same for the same arguments. Fewer, or none, where
    the source has no room for more or does not compile. Raises nothing."""
    try:
        original = ast.unparse(ast.parse(source))
    except SyntaxError:
        return []
    rng = random.Random(seed)
    order = list(range(len(_changes(ast.parse(source)))))
    rng.shuffle(order)
    found: list[str] = []
    for number in order:
        tree = ast.parse(source)
        _changes(tree)[number]()
        made = ast.unparse(ast.fix_missing_locations(tree))
        if made != original and made not in found and _compiles(made):
            found.append(made)
        if len(found) == count:
            break
    return found


def _compiles(source: str) -> bool:
    try:
        compile(source, "<mutant>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    return True


def _changes(tree: ast.Module) -> list[Change]:
    """Every fault that can be put into `tree`, in a fixed order."""
    texts = {id(stmt.value) for stmt in ast.walk(tree) if isinstance(stmt, ast.Expr)}
    return [change for node in ast.walk(tree) for change in _of(node) if id(node) not in texts]


def _of(node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.Compare(ops=[operator, *_]):
            for compared in _COMPARISONS[type(operator)]:
                yield partial(setitem, node.ops, 0, compared())
        case ast.BinOp(op=operator) | ast.AugAssign(op=operator):
            for computed in _OPERATORS.get(type(operator), ()):
                yield partial(setattr, node, "op", computed())
        case ast.BoolOp(op=joint):
            yield partial(setattr, node, "op", ast.Or() if isinstance(joint, ast.And) else ast.And())
        case ast.Constant(value=bool(truth)):
            yield partial(setattr, node, "value", not truth)
        case ast.Constant(value=int(number)):
            yield partial(setattr, node, "value", number + 1)
            yield partial(setattr, node, "value", number - 1)
        case ast.Constant(value=str(text)):
            yield partial(setattr, node, "value", f"{text}x")
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            yield partial(setattr, node, "test", ast.UnaryOp(op=ast.Not(), operand=test))
        case ast.Call(func=ast.Name(id="range"), args=[*_, last]):
            for step in (ast.Add(), ast.Sub()):
                yield partial(setitem, node.args, -1, ast.BinOp(left=last, op=step, right=ast.Constant(value=1)))
        case ast.Call(args=[first, second, *_]):
            yield partial(setitem, node.args, slice(2), [second, first])
        case ast.Return(value=ast.expr()):
            yield partial(setattr, node, "value", None)
    for name in ("body", "orelse"):
        block = getattr(node, name, None)
        if isinstance(block, list) and not isinstance(node, ast.Module | ast.ClassDef):
            yield from _in_block(block)


def _in_block(block: list[ast.stmt]) -> Iterator[Change]:
    for index, stmt in enumerate(block):
        if not isinstance(stmt, ast.Pass | ast.FunctionDef | ast.Expr):
            yield partial(setitem, block, index, ast.Pass())
        if index and not isinstance(stmt, ast.Return):
            yield partial(setitem, block, slice(index - 1, index + 1), [stmt, block[index - 1]])
        if isinstance(stmt, ast.Break):
            yield partial(setitem, block, index, ast.Continue())
