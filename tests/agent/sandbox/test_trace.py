"""Positions of statements and what is marked as executed, without a sandbox."""

from __future__ import annotations

import ast
import mmap

import pytest

from agent.sandbox.program import trace
from agent.sandbox.program.statements import Statements

COMPOUND = (
    "if a:\n    b\nelse:\n    c\nwhile d:\n    e\nwith f() as g:\n    h\ntry:\n    i\nexcept J:\n    k\n"
    "def l(m=1) -> int:\n    return 1\nclass N(O):\n    p = 1\nmatch q:\n    case 1:\n        r\nfor s in t: u\n"
    "async def v( ):\n    pass\nclass W:\n    x: int = 1\ndef y(\n    *a, b: int = (1),\n): ö = 'ä'; z\n"
)


def text(source: str, span: tuple[int, int, int, int]) -> str:
    lines = source.split("\n")[span[0] - 1 : span[2]]
    lines[-1] = lines[-1][: span[3]]
    lines[0] = lines[0][span[1] :]
    return "\n".join(lines)


def executed(source: str, *calls: str) -> list[str]:
    """Texts of the statements that ran while `source` was loaded and `calls` were evaluated."""
    tree = ast.parse(source)
    statements = Statements(tree, source)
    hits = mmap.mmap(-1, len(statements.ordered))
    namespace: dict[str, object] = {trace.HITS: hits}
    if not trace.MONITORING:
        trace.instrument(statements)
    code = compile(tree, trace.PROGRAM, "exec")
    if trace.MONITORING:
        trace.monitor(code, statements, hits)
    exec(code, namespace)
    for call in calls:
        eval(call, namespace)
    return [text(source, span) for span, hit in zip(statements.spans(), hits[:], strict=True) if hit]


def test_spans() -> None:
    statements = Statements(ast.parse(COMPOUND), COMPOUND)
    assert [text(COMPOUND, span) for span in statements.spans()] == [
        "if a", "b", "c", "while d", "e", "with f() as g", "h", "try", "i", "k", "def l(m=1) -> int", "return 1", "class N(O)",
        "p = 1", "match q", "r", "for s in t", "u", "async def v( )", "pass", "class W", "x: int = 1",
        "def y(\n    *a, b: int = (1),\n)", "ö = 'ä'", "z",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "calls", "ran"),
    [
        ("def f(x):\n    if x: return 1\n    return 2\n", ["f(0)"], ["def f(x)", "if x", "return 2"]),
        ("def f(x):\n    if x: return 1\n    return 2\n", ["f(1)"], ["def f(x)", "if x", "return 1"]),
        ("def f(x): return x\ndef g(): return 1\n", ["f(1)"], ["def f(x)", "return x", "def g()"]),
        ("x = 1; y = 2\nif x: y = 3\nelse: y = 4\n", [], ["x = 1", "y = 2", "if x", "y = 3"]),
        ("def f(x):\n    return g(\n        x,\n    )\ndef g(x):\n    pass\n", ["f(1)"], ["def f(x)", "return g(\n        x,\n    )", "def g(x)", "pass"]),
        ("import functools\n@functools.cache\ndef f(x):\n    return x\n", [], ["import functools", "def f(x)"]),
        ("for i in range(2):\n    if i: break\nelse:\n    i = 5\n", [], ["for i in range(2)", "if i", "break"]),
    ],
)  # fmt: skip
def test_statements_that_ran(source: str, calls: list[str], ran: list[str]) -> None:
    assert executed(source, *calls) == ran


def test_a_statement_that_raises_in_its_second_line_has_started() -> None:
    source = "x = [\n    1,\n    1 / 0,\n]\ny = 2\n"
    tree = ast.parse(source)
    statements = Statements(tree, source)
    hits = mmap.mmap(-1, 2)
    if not trace.MONITORING:
        trace.instrument(statements)
    code = compile(tree, trace.PROGRAM, "exec")
    if trace.MONITORING:
        trace.monitor(code, statements, hits)
    with pytest.raises(ZeroDivisionError):
        exec(code, {trace.HITS: hits})
    assert hits[:] == b"\x01\x00"


def test_traced_program_means_the_same() -> None:
    source = "'doc'\nfrom __future__ import annotations\ndef f(x):\n    'doc'\n    if x: return 1\n    else: return 2\n"
    tree = ast.parse(source)
    trace.instrument(Statements(tree, source))
    namespace: dict[str, object] = {trace.HITS: bytearray(10)}
    exec(compile(tree, "x", "exec"), namespace)
    function = namespace["f"]
    assert callable(function)
    assert (function(1), function(0), function.__doc__, namespace["__doc__"]) == (1, 2, "doc", "doc")
