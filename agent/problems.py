"""Problem files become `Problem` records: what a benchmark or a training run asks, and how it judges the answer.

Three layouts are read: HumanEval's JSON lines (MBPP in the same form), the LeetCode format (JSON lines with `problem`,
`solutions`, `tests.functional`) and folders in the layout of APPS. All tests found here are hidden tests; what a
statement shows as an example is for whoever reads the statement.
"""

from __future__ import annotations

import ast
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from agent.errors import AgentError
from agent.prelude import STANDARD_IMPORTS
from memory.records import CallTest, CodeTest, Problem, StdioTest, Test

_Json = TypeVar("_Json", dict[str, Any], list[Any])

COMPLETE_REQUEST = "Complete this Python function. Answer with the whole function in one ```python block."
"""Stands before the prompt of a HumanEval problem; says nothing about the problem."""
STDIN_REQUEST = "Write a Python program that reads the input from standard input and prints the answer."
STARTER_REQUEST = "Complete this Python starter code:"
FUNCTION_REQUEST = "Write a Python function named `{name}`."
JUDGE_IMPORTS = (
    STANDARD_IMPORTS
    + """\
from itertools import zip_longest
from math import atan2
from operator import or_, xor
from string import ascii_letters, ascii_lowercase, ascii_uppercase, digits
from typing import Deque
"""
)
"""What programs of LeetCode and APPS expect to find imported."""
LEETCODE_NODES = """\
class ListNode:
    def __init__(self, val=0, next=None):
        self.val, self.next = val, next


class TreeNode:
    def __init__(self, val=0, left=None, right=None):
        self.val, self.left, self.right = val, left, right


def list_node(values):
    head = None
    for value in reversed(values):
        head = ListNode(value, head)
    return head


def is_same_list(one, other):
    while one and other and one.val == other.val:
        one, other = one.next, other.next
    return one is None and other is None


def tree_node(values):
    if not values:
        return None
    root = TreeNode(values[0])
    parents, children = [root], iter(values[1:])
    for parent in parents:
        for side in ("left", "right"):
            value = next(children, None)
            if value is not None:
                setattr(parent, side, TreeNode(value))
                parents.append(getattr(parent, side))
    return root


def is_same_tree(one, other):
    if one is None or other is None:
        return one is other
    return one.val == other.val and is_same_tree(one.left, other.left) and is_same_tree(one.right, other.right)
"""
"""LeetCode's node classes and the helpers its tests call; part of the prelude where the tests need them."""


class ProblemFileError(AgentError):
    """A problem file cannot be read as any known layout; the message names file, line and what is missing."""

    def __init__(self, path: Path, line: int | None, problem: str) -> None:
        super().__init__(f"{path}{f', line {line}' if line else ''}: {problem}")


def load(path: Path) -> list[Problem]:
    """All problems of a file (plain or gzipped JSON lines) or of an APPS folder, in file or name order.

    An APPS problem without tests has an empty `hidden`. Raises ProblemFileError.
    """
    if path.is_dir():
        problems = [_apps(folder) for folder in _apps_folders(path)]
    else:
        problems = [_from_row(path, line, row) for line, row in _rows(path)]
    if not problems:
        raise ProblemFileError(path, None, "holds no problem")
    seen: set[str] = set()
    for problem in problems:
        if problem.id in seen:
            raise ProblemFileError(path, None, f"{problem.id} appears twice")
        seen.add(problem.id)
    return problems


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number (from 1) and object of every line that is not blank."""
    text = _text(path)
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        try:
            row = json.loads(content)
        except ValueError as error:
            raise ProblemFileError(path, line, f"not JSON: {error}") from error
        if not isinstance(row, dict):
            raise ProblemFileError(path, line, "not a JSON object")
        yield line, row


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
        return (gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content).decode()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise ProblemFileError(path, None, f"cannot be read: {error}") from error


def _from_row(path: Path, line: int, row: dict[str, Any]) -> Problem:
    if "problem" in row:
        return _leetcode(path, line, row)
    if "prompt" in row:
        return _humaneval(path, line, row)
    raise ProblemFileError(path, line, "neither HumanEval's form (`prompt`) nor the LeetCode form (`problem`)")


def _field(path: Path, line: int, row: dict[str, Any], name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        raise ProblemFileError(path, line, f"`{name}` is {'missing' if value is None else 'not a text'}")
    return value


def _humaneval(path: Path, line: int, row: dict[str, Any]) -> Problem:
    task_id, prompt, entry_point, test = (
        _field(path, line, row, name) for name in ("task_id", "prompt", "entry_point", "test")
    )
    _parsed(path, line, "test", test)
    solution = row.get("canonical_solution")
    return Problem(
        id=task_id,
        statement=f"{COMPLETE_REQUEST}\n\n{fenced(prompt)}",
        entry_point=entry_point,
        hidden=(CodeTest(source=test, runner="check"),),
        prelude=_before_entry_point(path, line, prompt, entry_point),
        reference=prompt + solution if isinstance(solution, str) else None,
    )


def fenced(code: str) -> str:
    """`code` as a markdown block."""
    return f"```python\n{code.strip(chr(10))}\n```"


def _before_entry_point(path: Path, line: int, prompt: str, entry_point: str) -> str:
    """What the prompt defines above its entry point: imports, helpers, constants."""
    try:
        tree = ast.parse(prompt)
    except SyntaxError:  # a signature without a docstring has no body yet
        tree = _parsed(path, line, "prompt", f"{prompt.rstrip()}\n    pass\n")
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name == entry_point:
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            above = "\n".join(prompt.split("\n")[: first - 1]).strip()
            return f"{above}\n" if above else ""
    raise ProblemFileError(path, line, f"`prompt` does not define the entry point {entry_point!r}")


def _parsed(path: Path, line: int, name: str, source: str) -> ast.Module:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError) as error:
        raise ProblemFileError(path, line, f"`{name}` is not Python: {error}") from error


def _leetcode(path: Path, line: int, row: dict[str, Any]) -> Problem:
    statement = _field(path, line, row, "problem")
    tests = row.get("tests")
    if not isinstance(tests, dict):
        raise ProblemFileError(path, line, "`tests` is missing")
    source = _field(path, line, tests, "functional")
    names = _called(_parsed(path, line, "tests.functional", source))
    if not names:
        raise ProblemFileError(path, line, "`tests.functional` does not end in `check(…)`")
    needs_nodes = any(f"{helper}(" in source for helper in ("list_node", "tree_node"))
    solutions = row.get("solutions")
    if isinstance(solutions, list):
        solutions = solutions[0] if solutions else None
    return Problem(
        id=str(row.get("task_id") or f"{path.name.partition('.')[0]}/{line - 1}"),
        statement=statement,
        entry_point=names[0],
        hidden=(CodeTest(source=source, runner="script"),),
        prelude=JUDGE_IMPORTS + (LEETCODE_NODES if needs_nodes else ""),
        reference=solutions if isinstance(solutions, str) else None,
    )


def _called(tree: ast.Module) -> list[str]:
    """Names in the argument of the closing `check(…)`: `Solution` in `check(Solution().two_sum)`."""
    match tree.body[-1:]:
        case [ast.Expr(value=ast.Call(func=ast.Name(id="check"), args=[candidate, *_]))]:
            return [node.id for node in ast.walk(candidate) if isinstance(node, ast.Name)]
        case _:
            return []


def _apps_folders(path: Path) -> list[Path]:
    """The folder itself if it is a problem, else the problem folders in it."""
    if (path / "question.txt").is_file():
        return [path]
    folders = sorted(folder for folder in path.iterdir() if (folder / "question.txt").is_file())
    if not folders:
        raise ProblemFileError(path, None, "no APPS problem in it (a folder with `question.txt`)")
    return folders


def _apps(folder: Path) -> Problem:
    question = _text(folder / "question.txt")
    starter = _text(folder / "starter_code.py") if (folder / "starter_code.py").is_file() else ""
    pairs = _json(folder / "input_output.json", dict)
    solutions = _json(folder / "solutions.json", list)
    function = pairs.get("fn_name")
    if function is None:
        request = STDIN_REQUEST
    elif starter.strip():
        request = f"{STARTER_REQUEST}\n\n{fenced(starter)}"
    else:
        request = FUNCTION_REQUEST.format(name=function)
    return Problem(
        id=f"APPS/{folder.name}",
        statement=f"{question.rstrip()}\n\n{request}",
        entry_point="Solution" if function and _in_class(starter) else function,
        hidden=_apps_tests(folder / "input_output.json", pairs, starter),
        prelude=JUDGE_IMPORTS,
        reference=next((solution for solution in solutions if isinstance(solution, str)), None),
    )


def _json(path: Path, kind: type[_Json]) -> _Json:
    """Content of a JSON file; empty if the file is absent."""
    if not path.is_file():
        return kind()
    try:
        value = json.loads(_text(path) or "null")
    except ValueError as error:
        raise ProblemFileError(path, None, f"not JSON: {error}") from error
    if value is None:
        return kind()
    if not isinstance(value, kind):
        raise ProblemFileError(path, None, f"holds no JSON {kind.__name__}")
    return value


def _apps_tests(path: Path, pairs: dict[str, Any], starter: str) -> tuple[Test, ...]:
    inputs, outputs, function = pairs.get("inputs", []), pairs.get("outputs", []), pairs.get("fn_name")
    if not isinstance(inputs, list) or not isinstance(outputs, list) or len(inputs) != len(outputs):
        raise ProblemFileError(path, None, "`inputs` and `outputs` are not lists of the same length")
    if function is None:
        return tuple(
            StdioTest(stdin=_joined(path, given), stdout=_joined(path, expected))
            for given, expected in zip(inputs, outputs, strict=True)
        )
    if not isinstance(function, str) or not all(isinstance(given, list) for given in inputs):
        raise ProblemFileError(path, None, "`fn_name` is given, so every input must be a list of arguments")
    target = f"Solution().{function}" if _in_class(starter) else function
    if _wrapped(outputs, starter):
        outputs = [expected[0] for expected in outputs]
    return tuple(
        CallTest(
            call=f"{target}({', '.join(repr(_int_keys(argument)) for argument in given)})",
            expected=repr(_int_keys(expected)),
            from_json=True,
        )
        for given, expected in zip(inputs, outputs, strict=True)
    )


def _in_class(starter: str) -> bool:
    return "class Solution" in starter


def _joined(path: Path, value: object) -> str:
    """Text of a stdin or stdout entry, which is a text or a list of lines."""
    if isinstance(value, list):
        return "\n".join(str(line) for line in value)
    if not isinstance(value, str):
        raise ProblemFileError(path, None, f"{value!r} is neither a text nor a list of lines")
    return value


def _wrapped(outputs: list[Any], starter: str) -> bool:
    """Whether the file puts every output into a one-element list of its own.

    Two sources of APPS do it differently and nothing in the file says which. A starter that promises a list settles
    it; else every output being a list of one element does.
    """
    promised = starter.rpartition("->")[2].strip().lower() if "->" in starter else ""
    return not promised.startswith("list") and all(isinstance(output, list) and len(output) == 1 for output in outputs)


def _int_keys(value: Any) -> Any:
    """JSON has no integer keys: a dictionary whose keys all read as integers gets them back."""
    if isinstance(value, list):
        return [_int_keys(item) for item in value]
    if isinstance(value, dict):
        integers = bool(value) and all(key.removeprefix("-").isdecimal() and str(int(key)) == key for key in value)
        return {int(key) if integers else key: _int_keys(item) for key, item in value.items()}
    return value
