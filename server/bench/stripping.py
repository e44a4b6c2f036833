"""Statements without their examples: what is left when a user only describes what is wanted."""

from __future__ import annotations

import re

from agent.examples import find_tests
from memory.records import Problem

_HEADING = re.compile(r"^\W*(?:for\s+)?(?:e\.?g\b|examples?|sample|i\.e\b|input|output|explanation)", re.IGNORECASE)
_ARROW = re.compile(r"=>|->|➞|==|\breturns?\s+[\[('\"\d-]")
_QUOTES = re.compile(r'"""|\'\'\'')


def stripped(problem: Problem) -> str:
    """The statement without doctests, calls of the entry point with their results, and blocks under "Example".

    Definitions, quotes that end a docstring and fences stay. What the finder of examples still finds goes too.
    """
    name = problem.entry_point or ""
    call = re.compile(rf"\b{re.escape(name)}\s*\(") if name else None
    kept: list[str | None] = []
    inside = False
    """Below a prompt or a heading, until the next blank line."""
    for line in problem.statement.split("\n"):
        bare = line.strip()
        if re.match(r"(?:async def|def|class|from|import)\s|```", bare):
            inside = False
        elif bare.startswith(">>>") or (_HEADING.match(bare) and len(bare) < 60):
            inside = True
        elif call is not None and call.search(line) and (_ARROW.search(line) or "=" in line):
            kept.append(_closing(line))
            continue
        if not inside:
            kept.append(line)
            continue
        kept.append(_closing(line))
        if not bare or _QUOTES.search(line):
            inside = False
    return _without_found("\n".join(line for line in kept if line is not None), problem)


def _closing(line: str) -> str | None:
    """What must stay of a line of an example: quotes that end or begin the docstring."""
    found = _QUOTES.search(line)
    if found is None:
        return None if line.strip() else ""
    return line[: len(line) - len(line.lstrip())] + found[0]


def _without_found(statement: str, problem: Problem) -> str:
    """Without the lines that, taken away, leave no example to be found."""
    lines = statement.split("\n")
    found = len(find_tests(statement, problem.entry_point))
    for place in range(len(lines) - 1, -1, -1):
        if not found:
            break
        if _QUOTES.search(lines[place]):
            continue
        shorter = [*lines[:place], *lines[place + 1 :]]
        left = len(find_tests("\n".join(shorter), problem.entry_point))
        if left < found:
            lines, found = shorter, left
    return "\n".join(lines)
