"""How well a program is written, by tools: ruff for style, radon for complexity, `instructions` for what was asked.

Programs are text to the tools: nothing is executed. What a tool cannot judge is missing, never a bad mark: programs
that do not parse or are huge, languages other than Python, a tool that is absent, fails or takes too long.

style       1 - findings / statements, at least 0: pylint's scale (its option `evaluation`), without extra weight for
            errors. Docstrings are no statements. Findings on lines that the statement gives word for word do not count.
complexity  against the problem's reference: its decisions + 1, divided by the program's decisions + 1, at most 1.
            Without one: 1 while no function has a cyclomatic complexity above 5, falling evenly to 0 at 41, the bounds
            of radon's best and worst rank. Code outside of functions counts as one more function.
instructions  the share of the instructions that are kept, among those that can be judged.
"""

from __future__ import annotations

import ast
import asyncio
import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from radon.visitors import ComplexityVisitor
from ruff import find_ruff_bin

from agent.review.instructions import Check, checks
from memory.recent import Finding
from memory.records import Problem, Quality
from memory.syntax import is_text, parse

MAX_CHARS = 40_000
"""Longer programs are not judged: parsing holds the interpreter, about 20 ms for this many."""
MAX_SECONDS = 5.0
"""For ruff, which needs a few milliseconds."""

_RULES = "E,W,F,B,C4,SIM,RET,PIE,N,A"
"""pycodestyle, pyflakes, bugbear, comprehensions, simplify, return, pie, names, shadowed built-ins: what is wrong with
any small program, with a docstring and annotations or without."""
_NOT_JUDGED = "F821,N801,N802,N803,W292,W391"
"""Names that a prelude supplies; names of the interface, which the tests choose; how the text ends, which depends on
how the program was cut out of an answer."""
_ARGUMENTS = (
    *("check", "--isolated", "--no-cache", "--ignore-noqa", "--quiet", "--exit-zero", "--output-format", "concise"),
    *("--target-version", f"py{sys.version_info.major}{sys.version_info.minor}", "--line-length", "120"),
    *("--select", _RULES, "--ignore", _NOT_JUDGED, "--stdin-filename", "program.py", "-"),
)
_FINDING = re.compile(rb"^program\.py:(\d+):\d+: (\S+?):? (?:\[\*\] )?(.*)$", re.MULTILINE)
_BEST, _WORST = 5, 41
_MAX_FINDINGS = 8
_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Review:
    """A program's quality, and what there is to say about it."""

    quality: Quality
    findings: tuple[Finding, ...] = ()
    """Instructions that are not kept, then complexity, then at most 8 findings of style."""


async def quality(problem: Problem, code: str) -> Quality:
    """The three shares, each None if not judged. A program that is wrong raises nothing."""
    return (await review(problem, code)).quality


async def review(problem: Problem, code: str, ruff: Path | None = None) -> Review:
    """As `quality`, with the findings in words. `ruff` is the tool's path; None finds the installed one."""
    if problem.language != "python" or len(code) > MAX_CHARS:
        return Review(Quality())
    return await asyncio.to_thread(_review, problem, code, ruff)


def _review(problem: Problem, code: str, ruff: Path | None) -> Review:
    read = _read(problem, code)
    if read is None:
        return Review(Quality())
    linted = _lint(code, ruff)
    style = None if linted is None else _not_given(problem, code, linted)
    return Review(
        Quality(
            style=None if style is None else max(0.0, 1 - len(style) / read.statements),
            complexity=read.complexity,
            instructions=read.instructions,
        ),
        (*read.findings, *(style or [])[:_MAX_FINDINGS]),
    )


@dataclass(frozen=True, slots=True)
class _Read:
    """What the syntax tree of a program tells."""

    statements: int
    complexity: float | None
    instructions: float | None
    findings: tuple[Finding, ...]


def _read(problem: Problem, code: str) -> _Read | None:
    """None for what is no Python or says nothing."""
    tree = parse(code)
    statements = 0 if tree is None else sum(isinstance(n, ast.stmt) and not is_text(n) for n in ast.walk(tree))
    if tree is None or not statements:
        return None
    complexity: float | None = None
    judged: tuple[Check, ...] = ()
    findings: list[Finding] = []
    with suppress(RecursionError):
        judged = checks(problem, tree)
        findings += [Finding(kind="instruction", text=f"not kept: {check.text}") for check in judged if not check.kept]
    with suppress(RecursionError):
        complexity, found = _complexity(tree, problem.reference)
        findings += found
    instructions = sum(check.kept for check in judged) / len(judged) if judged else None
    return _Read(statements, complexity, instructions, tuple(findings))


def _complexity(tree: ast.Module, reference: str | None) -> tuple[float, list[Finding]]:
    """Share and finding. Raises RecursionError for expressions that are nested too deeply."""
    scopes = _decisions(tree)
    total = sum(count for _, count in scopes) + 1
    known = parse(reference) if reference is not None and len(reference) <= MAX_CHARS else None
    if known is not None:
        share = min(1.0, (sum(count for _, count in _decisions(known)) + 1) / total)
        text = f"{total - 1} decisions, more than are needed"
        return share, [] if share == 1 else [Finding(kind="complexity", text=text)]
    scope, count = max(scopes, key=lambda pair: pair[1])
    share = min(1.0, max(0.0, (_WORST - count - 1) / (_WORST - _BEST)))
    where = "the program" if isinstance(scope, ast.Module) else f"`{scope.name}`"
    text = f"{where} has a cyclomatic complexity of {count + 1}"
    line = None if isinstance(scope, ast.Module) else scope.lineno
    return share, [] if share == 1 else [Finding(kind="complexity", text=text, line=line)]


def _decisions(tree: ast.Module) -> list[tuple[ast.Module | ast.ClassDef | _Function, int]]:
    """Each scope with the decisions in it by radon's count, without those of the scopes inside. Asserts are none."""
    scopes = [node for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef | _Function)]
    return [(scope, _own(scope)) for scope in scopes]


def _own(scope: ast.Module | ast.ClassDef | _Function) -> int:
    visitor = ComplexityVisitor(off=False, no_assert=True)
    for statement in scope.body:
        visitor.visit(statement)
    count: int = visitor.complexity
    return count


def _lint(code: str, ruff: Path | None) -> list[Finding] | None:
    """Everything that ruff finds; None if it is absent, fails, takes too long or cannot read the program."""
    try:
        done = subprocess.run(
            [ruff or find_ruff_bin(), *_ARGUMENTS],
            input=code.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=MAX_SECONDS,
            check=True,
            cwd="/",
            env={"RAYON_NUM_THREADS": "1"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    found = [
        Finding(kind="style", text=f"{rule.decode()} {message.decode(errors='replace')}", line=int(line))
        for line, rule, message in _FINDING.findall(done.stdout)
    ]
    unread = any(finding.text.startswith("invalid-syntax") for finding in found)
    return None if unread else found


def _not_given(problem: Problem, code: str, findings: list[Finding]) -> list[Finding]:
    """The findings on lines that are the program's own."""
    given = {line.strip() for line in problem.statement.splitlines()}
    lines = re.split(r"\r\n|\r|\n", code)
    return [found for found in findings if found.line is None or lines[found.line - 1].strip() not in given]
