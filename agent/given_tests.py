"""Tests as users write them (request field `tests`, files, JSON lines) to records.

Three shapes: a string of assert lines, a string of pytest or unittest source, or a list of `{"stdin", "stdout"}` and
`{"call", "expected"}` objects.
"""

from __future__ import annotations

import ast
import builtins
import json
import re
from collections.abc import Mapping, Sequence

from agent.errors import BadTests
from memory.records import AssertTest, CallTest, CodeTest, StdioTest, Test
from memory.syntax import parse


def read_tests(given: str | Sequence[Mapping[str, object]], *, python: bool = True) -> tuple[Test, ...]:
    """Records for the tests given, of a program in Python or, without `python`, in another language, where test source
    cannot be run. Raises BadTests, naming the place, if they have none of the three shapes."""
    if isinstance(given, str):
        if not given.strip():
            return ()
        if not python:
            raise BadTests(
                "assert lines and test files are for Python; for other languages send a list of "
                '{"stdin", "stdout"} or {"call", "expected"} objects'
            )
        return _from_source(given)
    return tuple(_from_object(index, item, python=python) for index, item in enumerate(given))


def called_name(tests: Sequence[Test]) -> str | None:
    """The function or class that the tests call first, as a guess at the entry point; built-in names do not count."""
    for test in tests:
        source = {"assert": "source", "call": "call", "code": "source"}.get(test.kind)
        if source is None:
            continue
        tree = parse(getattr(test, source))
        if tree is None:
            continue
        defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                name = node.func.id
                if name not in defined and name not in dir(builtins) and name not in _NOT_THE_PROGRAM:
                    return name
    return None


_NOT_THE_PROGRAM = frozenset({"isclose", "approx", "raises", "candidate", "check", "deepcopy"})


def _from_source(source: str) -> tuple[Test, ...]:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        raise BadTests(
            f"tests are not valid Python (line {line}): {error}; send assert lines or a test file"
        ) from error
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    if "check" in names:
        calls_check = any(isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) for node in tree.body)
        return (CodeTest(source=source, runner="script" if calls_check else "check"),)
    if re.search(r"^\s*class\s+\w+\([\w.]*TestCase\)", source, re.MULTILINE):
        return (CodeTest(source=source, runner="unittest"),)
    if any(name.startswith(("test", "Test")) for name in names):
        return (CodeTest(source=source, runner="pytest"),)
    if not any(isinstance(node, ast.Assert) for node in ast.walk(tree)):
        raise BadTests("tests contain no assert statement and no test function; send lines such as `assert f(1) == 2`")
    simple = (ast.Assert, ast.Assign, ast.Import, ast.ImportFrom)
    if not all(isinstance(node, simple) for node in tree.body):
        return (CodeTest(source=source, runner="script"),)
    tests: list[Test] = []
    setup = ""
    for node in tree.body:
        text = ast.get_source_segment(source, node) or ast.unparse(node)
        if isinstance(node, ast.Assert):
            tests.append(AssertTest(source=setup + text))
        else:
            setup += text + "\n"
    return tuple(tests)


def _from_object(index: int, item: Mapping[str, object], *, python: bool) -> Test:
    keys = set(item)
    if keys == {"stdin", "stdout"}:
        stdin, stdout = item["stdin"], item["stdout"]
        if isinstance(stdin, str) and isinstance(stdout, str):
            return StdioTest(stdin=stdin, stdout=stdout)
        raise BadTests(f"tests[{index}]: stdin and stdout must be strings")
    if keys == {"call", "expected"}:
        call = item["call"]
        if not isinstance(call, str):
            raise BadTests(f'tests[{index}]: call must be an expression as a string, e.g. "add(1, 2)"')
        if not python:
            return CallTest(call=call, expected=json.dumps(item["expected"]), from_json=True)
        try:
            ast.parse(call, mode="eval")
        except (SyntaxError, ValueError) as error:
            raise BadTests(f"tests[{index}]: call is not a Python expression: {error}") from error
        return CallTest(call=call, expected=repr(item["expected"]), from_json=True)
    raise BadTests(f"tests[{index}] has the keys {sorted(keys)}; expected {{stdin, stdout}} or {{call, expected}}")
