"""`burnish examples` as a script calls it."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from server.__main__ import app
from server.cli.common import CommandError


def test_one_line_in_one_line_out() -> None:
    prompts = [
        {"id": "a", "prompt": "Write a function `add(a, b)`.\nadd(1, 2) ➞ 3"},
        {"id": 7, "prompt": "Write something."},
    ]
    result = CliRunner().invoke(app, ["examples"], input="\n".join(map(json.dumps, prompts)))
    assert result.exit_code == 0
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {
            "id": "a",
            "entry_point": "add",
            "tests": [{"call": "add(1, 2)", "expected": "3", "from_json": False, "kind": "call"}],
        },
        {"id": 7, "entry_point": None, "tests": []},
    ]


@pytest.mark.parametrize(("line", "says"), [("{", "line 1 is not JSON"), ('{"id": "a"}', "line 1: expected")])
def test_bad_lines_are_named(line: str, says: str) -> None:
    result = CliRunner().invoke(app, ["examples"], input=line)
    assert isinstance(result.exception, CommandError)
    assert says in str(result.exception) and result.exception.status == 2
