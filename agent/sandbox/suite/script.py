"""Test code made ready to run: parsed, cut into cases and compiled.

The server does this once for all programs that are judged by the same tests, and tells the process that runs them the
result; only what would be too long to be told is made ready there. Standard library only: this module runs inside the
jail.
"""

from __future__ import annotations

import ast
import base64
import marshal
from types import CodeType
from typing import Any, NamedTuple

from agent.sandbox.suite import cases

TESTS = "<tests>"
"""Pseudo file name of the test code."""
PRELUDE = "<prelude>"
"""That of the prelude."""
_MOST_TOLD = 1 << 17
"""Characters."""


class Script(NamedTuple):
    """One piece of test code."""

    code: CodeType
    cases: list[str]
    """Names of the cases into which the source was cut; none if nothing in it can be told apart."""
    used: frozenset[str]
    """Names that are read or bound."""
    called: frozenset[str]
    """Those of functions that are called."""
    bound: frozenset[str]
    """Names that the source gives a meaning."""
    calls_check: bool
    """Whether it calls its `check` itself."""


def prepare(source: str, runner: str) -> Script:
    """Make test code for `runner` ready; a prelude for the runner `prelude`. Raises what `compile` does."""
    mode = "eval" if runner == "value" else "exec"
    tree: Any = ast.parse(source, mode=mode)
    nodes = cases.nodes_of(tree)
    names, bound = _names(nodes), cases.bound(tree)
    cut = cases.split(tree) if runner in ("check", "script") else []
    if runner not in ("value", "prelude"):
        cases.record_operands(nodes)
    code: CodeType = compile(tree, PRELUDE if runner == "prelude" else TESTS, mode, dont_inherit=True)
    return Script(code, cut, *names, bound, calls_check=runner == "check" and cases.calls_check(tree))


def told(source: str, runner: str) -> str | None:
    """A script as text, for `heard`; None if it would be too long, or does not compile."""
    try:
        text = base64.b64encode(marshal.dumps(tuple(prepare(source, runner)))).decode("ascii")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return text if len(text) <= _MOST_TOLD else None


def heard(text: str | None, source: str, runner: str) -> Script:
    """The script that an interpreter of this version told. Raises what `prepare` does, where that is left to do."""
    return prepare(source, runner) if text is None else Script(*marshal.loads(base64.b64decode(text)))


def _names(nodes: list[ast.AST]) -> tuple[frozenset[str], frozenset[str]]:
    """Those used, and those of functions that are called."""
    used = frozenset(node.id for node in nodes if isinstance(node, ast.Name))
    called = (node.func for node in nodes if isinstance(node, ast.Call))
    return used, frozenset(function.id for function in called if isinstance(function, ast.Name))
