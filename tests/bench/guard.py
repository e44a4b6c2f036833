"""Makes the hashes by which memory recognises the problems of a benchmark file in HumanEval's layout.

    .venv/bin/python -m tests.bench.guard HUMANEVAL.jsonl.gz > memory/benchmarks.jsonl

One JSON object for each problem, in the file's order; nothing of the texts is in it.
"""

from __future__ import annotations

import argparse
import ast
from pathlib import Path

from agent.problems import load
from memory.benchmarks import Mark, description_sketch, program_key
from memory.fingerprint import fingerprint
from memory.records import Problem
from memory.syntax import parse
from memory.wire import to_json
from tests.bench.described import description


def main() -> None:
    """Print the marks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    for problem in load(parser.parse_args().file):
        print(to_json(mark(problem)))


def mark(problem: Problem) -> Mark:
    """By what the problem is recognised from now on."""
    assert problem.entry_point is not None
    tree = parse(problem.reference or "")
    return Mark(
        id=problem.id,
        statement=fingerprint(prompt(problem)),
        sketch=description_sketch(description(problem), problem.entry_point),
        program=program_key(_function(tree, problem.entry_point)) if tree is not None else None,
    )


def prompt(problem: Problem) -> str:
    """The code of a statement of HumanEval, without the request before it."""
    return problem.statement.partition("```python\n")[2].rpartition("```")[0]


def _function(tree: ast.Module, name: str) -> ast.FunctionDef:
    return [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name][-1]


if __name__ == "__main__":
    main()
