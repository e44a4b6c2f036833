"""Which of the statement's own imports and helpers an answer leans on without repeating them.

A model asked to complete a file often answers with the function alone. The program that is executed, and returned,
is then the missing statements followed by the model's code.
"""

from __future__ import annotations

import ast
import builtins

STANDARD_IMPORTS = """\
import bisect, collections, copy, datetime, functools, heapq, itertools, math, operator, random, re, string, sys
from bisect import bisect_left, bisect_right, insort
from collections import Counter, OrderedDict, defaultdict, deque
from functools import cache, cmp_to_key, lru_cache, reduce
from heapq import heapify, heappop, heappush, heappushpop, heapreplace, nlargest, nsmallest
from itertools import accumulate, chain, combinations, count, cycle, groupby, islice, pairwise, permutations, product
from math import ceil, comb, factorial, floor, gcd, inf, isqrt, lcm, log, log2, pi, sqrt
from typing import Any, Callable, Dict, Generator, Iterable, Iterator, List, Optional, Sequence, Set, Tuple, Union
"""
"""What judges such as LeetCode import before a submission."""


def needed(prelude: str, code: str) -> str:
    """The statements of `prelude` that bind a name which `code` uses but does not define, dependencies included.

    Keeps their order. An import statement is narrowed to the names in use. Empty if nothing is missing or `code`
    does not parse.
    """
    try:
        statements, tree = ast.parse(prelude).body, ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    missing = _used(tree) - _bound(tree) - set(dir(builtins))
    kept: list[str] = []
    for statement in reversed(statements):
        if not (_names(statement) & missing):
            continue
        if isinstance(statement, ast.Import | ast.ImportFrom):
            statement.names = [alias for alias in statement.names if _alias_name(alias) in missing]
        kept.append(ast.unparse(statement))
        missing = (missing - _names(statement)) | _used(statement)
    return "".join(f"{text}\n" for text in reversed(kept))


def _alias_name(alias: ast.alias) -> str:
    return alias.asname or alias.name.partition(".")[0]


def _names(statement: ast.stmt) -> set[str]:
    """Names that one top-level statement binds in its module."""
    match statement:
        case ast.Import() | ast.ImportFrom():
            return {_alias_name(alias) for alias in statement.names}
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return {statement.name}
        case _:
            return {
                node.id
                for node in ast.walk(statement)
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
            }


def _used(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


def _bound(tree: ast.Module) -> set[str]:
    """Names that the code binds at module level, conditional definitions included."""
    bound: set[str] = set()
    pending: list[ast.stmt] = list(tree.body)
    while pending:
        statement = pending.pop()
        bound |= _names(statement)
        for block in ("body", "orelse", "finalbody"):
            if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                pending.extend(getattr(statement, block, []))
        for handler in getattr(statement, "handlers", []):
            pending.extend(handler.body)
    return bound
