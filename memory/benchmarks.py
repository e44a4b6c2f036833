"""Which texts hold a problem of HumanEval, or its solution: such a text is never remembered and never trained on.

What is known of the problems are hashes, in `benchmarks.jsonl`; `python -m tests.bench.guard` makes that file. The
statement is known by its fingerprint and by a sketch of its description, so that it is found in a chat, indented anew,
as prose, without its examples and with its function renamed; the canonical solution by the shape of its syntax tree.
HumanEval+ has the same statements.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from textwrap import dedent

from memory.fingerprint import fingerprint, shingles, sketch, words
from memory.shape import shape
from memory.syntax import parse
from memory.wire import from_json

SHINGLE = 3
"""Words."""
SKETCH = 32
"""Shingles that are kept of a description."""
SHARE = 0.5
"""Of a sketch must be in the text. No problem of MBPP, LeetCode or APPS with `LEAST` of one holds more than 0.47."""
LEAST = 5
"""Shingles of a sketch that must be in the text besides; of a smaller sketch, all."""
SMALL_PROGRAM = 40
"""Nodes; different tasks have the same program below, which counts only under the benchmark's name for it."""
TRIVIAL_PROGRAM = 12
"""Nodes; a smaller program is nobody's."""

_BLOCK = re.compile(r"^[ \t]*(`{3,}+|~{3,}+)[^\n]*+\n(.*?)(?:^[ \t]*\1|\Z)", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"^(?:async def|def|class|from|import|@\w)\b", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """By what one problem is recognised."""

    id: str
    statement: str
    """Fingerprint of the prompt."""
    sketch: tuple[int, ...]
    """Smallest shingles of the description."""
    program: str | None
    """Key of the canonical solution (`program_key`)."""


def is_benchmark(text: str) -> bool:
    """Whether a text holds a problem of HumanEval or a canonical solution that is not trivial.

    A text in which every eighth word is another one is still recognised; one that says the task in entirely other words
    is not. Time grows with the text: about 10 µs for a word.
    """
    return benchmark_in(text) is not None


def benchmark_in(text: str) -> str | None:
    """The id of a benchmark problem that the text holds, or None."""
    known = _known()
    for part in _parts(text):
        found = known.statements.get(fingerprint(part)) or next(
            (known.programs[key] for key in _keys(part) if key in known.programs), None
        )
        if found is not None:
            return found
    return _described(text, known)


def description_sketch(description: str, name: str) -> tuple[int, ...]:
    """Of what a docstring says without examples. A function's name of several words may be renamed with the function,
    so windows with it are left out."""
    said = words(description)
    windows = [said[start : start + SHINGLE] for start in range(max(1, len(said) - SHINGLE + 1))]
    kept = [window for window in windows if "_" not in name or name.casefold() not in window]
    return sketch(frozenset().union(*(shingles(window, SHINGLE) for window in kept)), SKETCH)


def program_key(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str | None:
    """Equal for functions of equal shape; of a small one the name counts too; None for a trivial one."""
    found = shape(function)
    if found is None or found.nodes < TRIVIAL_PROGRAM:
        return None
    if found.nodes < SMALL_PROGRAM:
        return sha256(f"{function.name} {found.digest}".encode()).hexdigest()
    return found.digest


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """The marks of all problems, by what is looked up."""

    statements: Mapping[str, str]
    programs: Mapping[str, str]
    shingles: Mapping[int, tuple[str, ...]]
    sizes: Mapping[str, int]
    """Shingles in each sketch."""


@cache
def _known() -> _Known:
    lines = files("memory").joinpath("benchmarks.jsonl").read_text(encoding="utf-8").splitlines()
    marks = [from_json(Mark, line) for line in lines]
    shingles: dict[int, tuple[str, ...]] = {}
    for mark in marks:
        for shingle in mark.sketch:
            shingles[shingle] = (*shingles.get(shingle, ()), mark.id)
    return _Known(
        statements={mark.statement: mark.id for mark in marks},
        programs={mark.program: mark.id for mark in marks if mark.program},
        shingles=shingles,
        sizes={mark.id: len(mark.sketch) for mark in marks},
    )


def _parts(text: str) -> Iterator[str]:
    """The whole text, its fenced blocks, and what follows the first line that looks like code."""
    yield text
    for match in _BLOCK.finditer(text):
        yield dedent(match[2])
    first = _CODE.search(text)
    if first is not None and first.start():
        yield text[first.start() :]


def _keys(source: str) -> Iterator[str]:
    tree = parse(source)
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (key := program_key(node)):
            yield key


def _described(text: str, known: _Known) -> str | None:
    """The problem of whose description the largest share is in the text, if that is enough."""
    hits = Counter(problem for shingle in shingles(words(text), SHINGLE) for problem in known.shingles.get(shingle, ()))
    enough = [
        (hits[problem] / size, problem)
        for problem in hits
        if hits[problem] >= max(min(LEAST, size := known.sizes[problem]), SHARE * size)
    ]
    return max(enough)[1] if enough else None
