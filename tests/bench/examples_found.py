"""What is found in the prompts of HumanEval, MBPP, LeetCode and APPS, and do the reference solutions pass it?

    .venv/bin/python -m tests.bench.examples_found [--workers 2] [--only humaneval] [--without] [--json]

For each data set: prompts, prompts in which at least one test is found, tests, and the share of them that the reference
solution passes in the sandbox; below the table every test that it fails, with the reason. Tests of references that fail
their own hidden tests are counted apart. `--without` prints the prompts in which nothing is found, to be read.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from agent.problems import load
from agent.sandbox.pool import WorkerPool
from agent.settings import SandboxSettings
from agent.task import read_problem
from memory.records import CaseResult, CodeTest, Outcome, Problem, Test
from tests.bench.report import publish
from tests.data import data_file

_SITES_WORDS = {"True": "true", "False": "false", "None": "null"}


@dataclass(frozen=True, slots=True)
class Failed:
    """One test that a reference does not pass."""

    problem: str
    test: Test
    case: CaseResult
    sound: bool
    """Whether the reference passes its hidden tests."""


def sources() -> dict[str, Callable[[], list[Problem]]]:
    """Problems by name of the data set."""
    return {
        "humaneval": lambda: load(data_file("humaneval.jsonl.gz")),
        "mbpp_train": lambda: load(data_file("mbpp_train.jsonl.gz")),
        "mbpp_validation": lambda: load(data_file("mbpp_validation.jsonl.gz")),
        "leetcode": lambda: load(data_file("leetcode_train.jsonl.gz")),
        "leetcode_as_printed": lambda: as_printed(load(data_file("leetcode_train.jsonl.gz"))),
        "apps": lambda: load(data_file("apps_sample")),
    }


def as_printed(problems: Sequence[Problem]) -> list[Problem]:
    """The LeetCode problems with their first two hidden tests as the site prints examples, which the file leaves out.

    Without those whose tests need linked lists or trees: their examples are pictures of objects.
    """
    made: list[Problem] = []
    for problem in problems:
        shown = [printed for check in _checks(problem) if (printed := _printed(check))][:2]
        if shown:
            examples = "\n\n".join(f"Example {number}:\n\n{each}" for number, each in enumerate(shown, start=1))
            head, mark, tail = problem.statement.partition("Please complete the following python code")
            made.append(replace(problem, statement=f"{head}\n{examples}\n\n{mark}{tail}"))
    return made


def _checks(problem: Problem) -> list[ast.Compare]:
    test = problem.hidden[0]
    tree = ast.parse(test.source) if isinstance(test, CodeTest) else ast.Module([], [])
    asserted = [node.test for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    return [node for node in asserted if isinstance(node, ast.Compare)]


def _printed(check: ast.Compare) -> str | None:
    match check:
        case ast.Compare(left=ast.Call(args=[], keywords=keywords), ops=[ast.Eq()], comparators=[expected]):
            try:
                values = [(keyword.arg, ast.literal_eval(keyword.value)) for keyword in keywords]
                result = ast.literal_eval(expected)
            except ValueError:
                return None
            given = ", ".join(f"{name} = {_json(value)}" for name, value in values)
            return f"Input: {given}\nOutput: {_json(result)}\nExplanation: So it is."
        case _:
            return None


def _json(value: object) -> str:
    """As LeetCode prints values."""
    if isinstance(value, list):
        return f"[{','.join(_json(item) for item in value)}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return _SITES_WORDS.get(repr(value), repr(value))


async def main() -> None:
    """Read, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", choices=list(sources()), help="one data set")
    parser.add_argument("--without", action="store_true", help="print the prompts in which nothing is found")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows: list[dict[str, object]] = []
    notes: list[str] = []
    async with await WorkerPool.start(SandboxSettings(workers=given.workers)) as pool:
        for name, read in sources().items():
            if given.only in (None, name):
                problems = read()
                found = [read_problem(one.id, [{"role": "user", "content": one.statement}]) for one in problems]
                failed = await _failed(pool, problems, found)
                rows.append(_row(name, found, failed))
                notes += [_note(each) for each in failed]
                if given.without:
                    notes += [f"{one.id}: nothing found\n\n{one.statement}" for one in found if not one.visible]
    publish("tests.bench.examples_found", rows, as_json=given.json, notes=notes)


def _row(name: str, found: Sequence[Problem], failed: Sequence[Failed]) -> dict[str, object]:
    tests = sum(len(one.visible) for one in found)
    sound = sum(each.sound for each in failed)
    return {
        "source": name,
        "prompts": len(found),
        "with a test": sum(bool(one.visible) for one in found),
        "tests": tests,
        "passed": tests - len(failed),
        "share": f"{100 * (tests - len(failed)) / tests:.2f} %" if tests else "",
        "failed, reference sound": sound,
        "share without broken references": f"{100 * (1 - sound / tests):.2f} %" if tests else "",
    }


async def _failed(pool: WorkerPool, problems: Sequence[Problem], found: Sequence[Problem]) -> list[Failed]:
    async def one(problem: Problem, read: Problem) -> list[Failed]:
        if not read.visible or problem.reference is None:
            return []
        verdict = await pool.run(problem.reference, read.visible, entry_point=read.entry_point, prelude=problem.prelude)
        cases = verdict.cases
        bad = [(test, case) for test, case in zip(read.visible, cases, strict=True) if case.outcome != Outcome.PASSED]
        if not bad:
            return []
        hidden = await pool.run(
            problem.reference, problem.hidden, entry_point=problem.entry_point, prelude=problem.prelude
        )
        sound = hidden.outcome is Outcome.PASSED
        return [Failed(problem.id, test, case, sound) for test, case in bad]

    lists = await asyncio.gather(*(one(*pair) for pair in zip(problems, found, strict=True)))
    return [failed for each in lists for failed in each]


def _note(failed: Failed) -> str:
    case, test = failed.case, failed.test
    values = f"expected {case.expected}, got {case.actual}" if case.expected else (case.message or "")
    text = re.sub(r"\s+", " ", f"{test}")[:300]
    kind = "" if failed.sound else " (the reference fails its hidden tests too)"
    return f"{failed.problem}{kind}: {case.outcome}: {values[:300]}; {text}"


if __name__ == "__main__":
    asyncio.run(main())
