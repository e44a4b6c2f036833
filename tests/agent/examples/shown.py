"""Tests found in a prompt in a short spelling."""

from __future__ import annotations

from agent.examples import find_tests
from agent.task import read_problem
from memory.records import AssertTest, CallTest, CodeTest, ProbeTest, StdioTest, Test


def checks(statement: str, name: str | None = "f") -> list[str]:
    """What `find_tests` finds for the entry point."""
    return [spelled(test) for test in find_tests(statement, name)]


def in_chat(statement: str) -> list[str]:
    """What is found in a chat with this one message."""
    return [spelled(test) for test in read_problem("p", [{"role": "user", "content": statement}]).visible]


def spelled(test: Test) -> str:
    match test:
        case AssertTest(source=source):
            return source
        case CallTest(call=call, expected=expected):
            return f"{call} == {expected}"
        case StdioTest(stdin=stdin, stdout=stdout):
            return f"{stdin}-> {stdout}"
        case CodeTest(source=source, runner=runner):
            return f"{runner}: {source}"
        case ProbeTest():
            raise AssertionError("no prompt holds a probe")
