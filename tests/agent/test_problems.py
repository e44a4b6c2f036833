"""Problem files: each layout as it stands in the wild, in small; broken files say where and what."""

from __future__ import annotations

import ast
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from agent.problems import JUDGE_IMPORTS, LEETCODE_NODES, ProblemFileError, load
from memory.records import CallTest, CodeTest, StdioTest

HELPED = {
    "task_id": "Own/0",
    "prompt": "import math\nfrom typing import List\n\n\ndef double(x: float) -> float:\n    return 2 * x\n\n\n"
    'def doubled(xs: List[float]) -> List[float]:\n    """ All doubled.\n    >>> doubled([1.5])\n    [3.0]\n    """\n',
    "entry_point": "doubled",
    "canonical_solution": "    return [double(x) for x in xs]\n",
    "test": "def check(candidate):\n    assert candidate([1.5, 2]) == [double(1.5), 4]\n",
}
PLAIN = {
    "task_id": "Own/1",
    "prompt": '\n\ndef one():\n\t"""\n\tReturn 1.\n\t"""\n',
    "entry_point": "one",
    "test": "def check(candidate):\n    assert candidate() == 1\n",
}
FUNCTIONAL = "def check(candidate):\n    assert candidate(a=1, b=2) == 3\n\n\ncheck(Solution().add)"
LEETCODE = {
    "task_id": "Leet/7",
    "problem": "Add.\n```python\nclass Solution:\n    def add(self, a: int, b: int) -> int:\n```",
    "solutions": "class Solution:\n    def add(self, a: int, b: int) -> int:\n        return a + b\n",
    "tests": {"functional": FUNCTIONAL},
}


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return path


def apps(folder: Path, pairs: object = None, starter: str | None = None, question: str = "Add.") -> Path:
    folder.mkdir(parents=True)
    (folder / "question.txt").write_text(question)
    if pairs is not None:
        (folder / "input_output.json").write_text(json.dumps(pairs))
    if starter is not None:
        (folder / "starter_code.py").write_text(starter)
    return folder


def test_humaneval_form(tmp_path: Path) -> None:
    helped, plain = load(lines(tmp_path / "own.jsonl", HELPED, "", PLAIN))
    assert helped.id == "Own/0"
    assert helped.statement.endswith(f"\n\n```python\n{HELPED['prompt'].strip()}\n```")
    assert "Own" not in helped.statement
    assert helped.entry_point == "doubled"
    assert helped.hidden == (CodeTest(source=HELPED["test"], runner="check"),)
    assert helped.visible == ()
    assert helped.prelude == (
        "import math\nfrom typing import List\n\n\ndef double(x: float) -> float:\n    return 2 * x\n"
    )
    assert helped.reference == HELPED["prompt"] + HELPED["canonical_solution"]
    assert (plain.prelude, plain.reference) == ("", None)


def test_gzip_is_recognised_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "own.data"
    path.write_bytes(gzip.compress(json.dumps(PLAIN).encode()))
    assert [problem.id for problem in load(path)] == ["Own/1"]


def test_a_signature_without_a_body_is_a_prompt(tmp_path: Path) -> None:
    row = PLAIN | {"prompt": "import math\n\ndef one() -> int:\n"}
    assert load(lines(tmp_path / "own.jsonl", row))[0].prelude == "import math\n"


def test_decorators_belong_to_the_entry_point(tmp_path: Path) -> None:
    row = PLAIN | {"prompt": "import functools\n\n@functools.cache\ndef one():\n    '''1'''\n"}
    assert load(lines(tmp_path / "own.jsonl", row))[0].prelude == "import functools\n"


def test_leetcode_form(tmp_path: Path) -> None:
    nodes = LEETCODE | {
        "task_id": None,
        "tests": {"functional": "def check(f):\n    assert f(list_node([1])) == 1\n\ncheck(Solution().head)"},
    }
    adding, listing = load(lines(tmp_path / "leet.jsonl", LEETCODE, nodes))
    assert (adding.id, adding.statement, adding.entry_point) == ("Leet/7", LEETCODE["problem"], "Solution")
    assert adding.hidden == (CodeTest(source=FUNCTIONAL, runner="script"),)
    assert adding.prelude == JUDGE_IMPORTS
    assert adding.reference == LEETCODE["solutions"]
    assert listing.id == "leet/1"
    assert listing.prelude == JUDGE_IMPORTS + LEETCODE_NODES


def test_the_judge_imports_and_nodes_work() -> None:
    names: dict[str, Any] = {}
    exec(JUDGE_IMPORTS + LEETCODE_NODES, names)
    assert not {"pow", "sum", "list", "filter"} & set(names)
    assert names["is_same_list"](names["list_node"]([1, 2]), names["list_node"]([1, 2]))
    assert not names["is_same_list"](names["list_node"]([1, 2]), names["list_node"]([1]))
    tree = names["tree_node"]([1, None, 2, 3])
    assert (tree.left, tree.right.val, tree.right.left.val) == (None, 2, 3)
    assert names["is_same_tree"](tree, names["tree_node"]([1, None, 2, 3]))
    assert not names["is_same_tree"](tree, names["tree_node"]([1, 2]))


def test_apps_stdin_programs(tmp_path: Path) -> None:
    apps(tmp_path / "0002", {"inputs": ["1 2\n", ["3", "4"]], "outputs": ["3\n", ["7", "ok"]]})
    apps(tmp_path / "0001", {"inputs": [], "outputs": []})
    (tmp_path / "0001" / "solutions.json").write_text(json.dumps(["print(1)", "print(2)"]))
    (tmp_path / "notes").mkdir()
    empty, adding = load(tmp_path)
    assert (empty.id, empty.hidden, empty.reference) == ("APPS/0001", (), "print(1)")
    assert adding.hidden == (StdioTest(stdin="1 2\n", stdout="3\n"), StdioTest(stdin="3\n4", stdout="7\nok"))
    assert adding.entry_point is None
    assert "standard input" in adding.statement
    assert load(tmp_path / "0002") == [adding]


def test_apps_without_tests(tmp_path: Path) -> None:
    assert load(apps(tmp_path / "0000"))[0].hidden == ()


def test_apps_calls(tmp_path: Path) -> None:
    starter = "class Solution:\n    def add(self, a: int, b: int) -> int:\n        "
    method = load(apps(tmp_path / "a", {"fn_name": "add", "inputs": [[1, 2]], "outputs": [3]}, starter))[0]
    assert method.hidden == (CallTest(call="Solution().add(1, 2)", expected="3", from_json=True),)
    assert method.entry_point == "Solution"
    assert starter.rstrip() in method.statement
    pairs = {"fn_name": "f", "inputs": [[{"1": "a"}, "x"]], "outputs": [[{"-2": [True, None], "3": 1.5}]]}
    plain = load(apps(tmp_path / "b", pairs))[0]
    assert plain.hidden == (CallTest(call="f({1: 'a'}, 'x')", expected="{-2: [True, None], 3: 1.5}", from_json=True),)
    assert plain.entry_point == "f"
    assert "named `f`" in plain.statement


@pytest.mark.parametrize(
    ("outputs", "starter", "expected"),
    [
        ([[False], [True]], "def f(n):\n\t", ["False", "True"]),
        ([[[1, 2]], [[]]], "def f(n):\n\t", ["[1, 2]", "[]"]),
        ([[1], [2, 3]], "def f(n):\n\t", ["[1]", "[2, 3]"]),
        ([[1], [2]], "class Solution:\n    def f(self, n: int) -> List[int]:\n        ", ["[1]", "[2]"]),
        ([[1], [2]], "class Solution:\n    def f(self, n: int) -> int:\n        ", ["1", "2"]),
    ],
)
def test_apps_outputs_are_values_or_wrapped_values(
    tmp_path: Path, outputs: list[Any], starter: str, expected: list[str]
) -> None:
    problem = load(apps(tmp_path / "a", {"fn_name": "f", "inputs": [[1], [2]], "outputs": outputs}, starter))[0]
    tests = [test for test in problem.hidden if isinstance(test, CallTest)]
    assert [test.expected for test in tests] == expected
    assert all(ast.literal_eval(test.expected) is not ... for test in tests)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "line 2: not JSON"),
        ("[1]", "line 2: not a JSON object"),
        ({"task_id": "a"}, "line 2: neither HumanEval"),
        ({key: value for key, value in PLAIN.items() if key != "test"}, "line 2: `test` is missing"),
        (PLAIN | {"entry_point": 7}, "line 2: `entry_point` is not a text"),
        (PLAIN | {"entry_point": "two"}, "line 2: `prompt` does not define the entry point 'two'"),
        (PLAIN | {"prompt": "def ("}, "line 2: `prompt` is not Python"),
        (PLAIN | {"test": "def check(:"}, "line 2: `test` is not Python"),
        (LEETCODE | {"tests": None}, "line 2: `tests` is missing"),
        (LEETCODE | {"tests": {}}, "line 2: `functional` is missing"),
        (LEETCODE | {"tests": {"functional": "x = 1"}}, "line 2: `tests.functional` does not end"),
        (HELPED, "Own/0 appears twice"),
    ],
)
def test_broken_lines_name_file_line_and_what_is_missing(tmp_path: Path, row: object, message: str) -> None:
    path = lines(tmp_path / "own.jsonl", HELPED, row)
    with pytest.raises(ProblemFileError, match=message) as error:
        load(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ({"inputs": ["1"], "outputs": []}, "same length"),
        ({"inputs": [1], "outputs": ["1"]}, "neither a text nor a list"),
        ({"fn_name": "f", "inputs": ["1"], "outputs": [1]}, "list of arguments"),
        ([1], "no JSON dict"),
    ],
)
def test_broken_apps_folders(tmp_path: Path, pairs: object, message: str) -> None:
    with pytest.raises(ProblemFileError, match=message):
        load(apps(tmp_path / "0000", pairs))


def test_files_that_are_no_problem_files(tmp_path: Path) -> None:
    with pytest.raises(ProblemFileError, match="cannot be read"):
        load(tmp_path / "missing.jsonl")
    with pytest.raises(ProblemFileError, match="holds no problem"):
        load(lines(tmp_path / "empty.jsonl", ""))
    with pytest.raises(ProblemFileError, match="no APPS problem"):
        load(tmp_path)
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"x" * 1000)[:20])
    with pytest.raises(ProblemFileError, match="cannot be read"):
        load(tmp_path / "cut.gz")
