"""`burnish examples`: prompts as JSON lines in, the tests that stand in each out, in input order."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

from agent.task import read_problem
from memory.wire import to_plain
from server.cli.common import CommandError


def examples() -> None:
    """Read JSON lines {"id", "prompt"} and print {"id", "entry_point", "tests"} for each."""
    for number, line in enumerate(sys.stdin, start=1):
        if line.strip():
            print(json.dumps(_found(line, number)), flush=True)


def _found(line: str, number: int) -> dict[str, object]:
    try:
        asked = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CommandError(f"line {number} is not JSON: {error}", status=2) from error
    if not isinstance(asked, Mapping) or not isinstance(asked.get("prompt"), str):
        raise CommandError(f'line {number}: expected an object with "id" and the text "prompt"', status=2)
    problem = read_problem(str(asked.get("id", number)), [{"role": "user", "content": asked["prompt"]}])
    return {
        "id": asked.get("id"),
        "entry_point": problem.entry_point,
        "tests": [to_plain(test) for test in problem.visible],
    }
