"""Test files pasted into a chat: pytest functions, unittest classes, or HumanEval's `check(candidate)`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from memory.records import CodeTest
from memory.syntax import compiles, parse

_FENCE = re.compile(r"^[ \t]*```[ \t]*(\w*)[^\n]*\n(.*?)(?:^[ \t]*```[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)
_TEST = re.compile(r"^(?:async def|def) test\w*\(|^class [^\n]*Test[^\n]*:|^def check\(candidate", re.MULTILINE)
_CODE_LINE = re.compile(
    r"^(?:[ \t]|import\b|from\b|def\b|async\b|class\b|@|assert\b|#|if __name__|[)\]}]|[A-Za-z_]\w*[ \t]*=|"
    r"unittest\.|pytest\.|\w+\(|$)"
)
_MAX_FILE = 40_000
"""Characters; Python's compiler takes more than linear time on longer ones."""
_MAX_FILES = 20
_MAX_CUTS = 5


@dataclass(frozen=True, slots=True)
class Pasted:
    """A test file and its place in the text, so that nobody reads its lines once more."""

    test: CodeTest
    start: int
    end: int


def pasted_files(text: str, entry_point: str | None) -> Iterator[Pasted]:
    """Fenced or bare Python that defines tests, without a definition of the entry point, which is the program."""
    found = 0
    for start, end in _stretches(text):
        if found == _MAX_FILES:
            return
        if end - start > _MAX_FILE:
            continue
        source = text[start:end]
        tree = parse(source) if _TEST.search(source) else None
        test = _code_test(tree, source, entry_point) if tree is not None else None
        if test is not None:
            found += 1
            yield Pasted(test, start, end)


def _stretches(text: str) -> Iterator[tuple[int, int]]:
    """Where code may stand: each fence, and outside of fences each run of lines that look like code around a test."""
    position = 0
    for fence in _FENCE.finditer(text):
        yield from _bare(text, position, fence.start())
        yield fence.start(2), fence.end(2)
        position = fence.end()
    yield from _bare(text, position, len(text))


def _bare(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Runs of code lines with a test in them, cut where Python cannot read on."""
    if not _TEST.search(text, start, end):
        return
    run_start: int | None = None
    position = start
    for line in text[start:end].splitlines(keepends=True):
        is_code = _CODE_LINE.match(line) is not None
        if is_code and run_start is None and line.strip() and not line[0].isspace():
            run_start = position
        elif not is_code and run_start is not None:
            if position - run_start <= _MAX_FILE:
                yield _readable(text, run_start, position)
            run_start = None
        position += len(line)
    if run_start is not None and end - run_start <= _MAX_FILE:
        yield _readable(text, run_start, end)


def _readable(text: str, start: int, end: int) -> tuple[int, int]:
    """The stretch up to the statement that is no Python."""
    for _ in range(_MAX_CUTS):
        try:
            ast.parse(text[start:end])
        except SyntaxError as error:
            lines = text[start:end].splitlines(keepends=True)
            end = start + sum(len(line) for line in lines[: max(0, (error.lineno or 1) - 1)])
        except (ValueError, RecursionError, MemoryError):
            return start, start
        else:
            return start, end
    return start, start


def _code_test(tree: ast.Module, source: str, entry_point: str | None) -> CodeTest | None:
    tests = [node for node in tree.body if _is_test(node)]
    if not tests:
        return None
    names = {getattr(node, "name", "") for node in tests}
    own = [node for node in tree.body if getattr(node, "name", "") == entry_point or _is_main(node)]
    if any(_is_test(node) for node in own if not _is_main(node)):
        return None
    kept = [node for node in tree.body if node not in own]
    code = source.strip("\n") + "\n" if not own else "\n".join(ast.unparse(node) for node in kept) + "\n"
    if not any(
        isinstance(each, ast.Assert | ast.With) or _is_assertion(each) for node in tests for each in ast.walk(node)
    ):
        return None
    if not compiles(code):
        return None
    if "check" in names:
        calls_check = any(isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) for node in kept)
        return CodeTest(source=code, runner="script" if calls_check else "check")
    if any(_is_test_case(node) for node in tests):
        return CodeTest(source=code, runner="unittest")
    return CodeTest(source=code, runner="pytest")


def _is_test(node: ast.stmt) -> bool:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return node.name.startswith("test") or (
            node.name == "check" and [a.arg for a in node.args.args] == ["candidate"]
        )
    if isinstance(node, ast.ClassDef):
        methods = [child for child in node.body if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)]
        return (node.name.startswith("Test") or _is_test_case(node)) and any(m.name.startswith("test") for m in methods)
    return False


def _is_test_case(node: ast.stmt) -> bool:
    return isinstance(node, ast.ClassDef) and any(ast.unparse(base).endswith("TestCase") for base in node.bases)


def _is_main(node: ast.stmt) -> bool:
    """`if __name__ == "__main__":` starts the tests; here somebody else does."""
    return isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)


def _is_assertion(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr.startswith(("assert", "fail"))
    )
