"""Positions of statements and counters, without a sandbox."""

from __future__ import annotations

import ast

from agent.sandbox import trace


def test_header_of_every_compound_statement() -> None:
    source = (
        "if a:\n    b\nelse:\n    c\nwhile d:\n    e\nwith f() as g:\n    h\ntry:\n    i\nexcept J:\n    k\n"
        "def l(m=1) -> int:\n    return 1\nclass N(O):\n    p = 1\nmatch q:\n    case 1:\n        r\nfor s in t: u\n"
    )
    statements = trace.Statements(ast.parse(source), source)
    lines = source.split("\n")
    headers = {line: statements.span(line, 0) for line in (1, 5, 7, 13, 15, 17, 20)}
    texts = {line: lines[span[0] - 1][span[1] : span[3]] for line, span in headers.items() if span}
    assert texts == {
        1: "if a", 5: "while d", 7: "with f() as g", 13: "def l(m=1) -> int", 15: "class N(O)", 17: "match q", 20: "for s in t",
    }  # fmt: skip


def test_instrumented_program_means_the_same() -> None:
    source = "'doc'\nfrom __future__ import annotations\ndef f(x):\n    'doc'\n    if x: return 1\n    else: return 2\n"
    tree = ast.parse(source)
    trace.instrument(tree, trace.Statements(tree, source))
    hits = bytearray(10)
    namespace: dict[str, object] = {trace.HITS: hits}
    exec(compile(tree, "x", "exec"), namespace)
    function = namespace["f"]
    assert callable(function)
    assert (function(1), function(0), function.__doc__, namespace["__doc__"]) == (1, 2, "doc", "doc")
    assert trace.executed_lines(bytes(hits)) == (3, 5, 6)
