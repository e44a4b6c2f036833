"""Families: problems so alike that what is learned on one is known of the other. Data are split by them, never within.

Two problems are alike if their descriptions are near-duplicates (word shingles; Broder, "On the resemblance and
containment of documents", 1997) or their solutions the same but for names; a family is a connected component. At a
resemblance of 0.4, MBPP shows the same task with one word exchanged; from 0.38 down, different tasks with a phrase in
common.
"""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from hashlib import sha256
from math import ceil

from agent.problems import COMPLETE_REQUEST, STARTER_REQUEST, STDIN_REQUEST
from agent.stub import code_tree
from memory.fingerprint import fingerprint, resemblance, shingles, words
from memory.records import Problem
from memory.shape import shape
from memory.syntax import is_text, parse

SHINGLE = 3
"""Words."""
NEAR = 0.4
"""Resemblance from which on two descriptions are near-duplicates."""
SMALLEST = 10
"""Nodes of a syntax tree; a smaller program may be the solution of anything."""

_FENCED = re.compile(r"^[ \t]*(`{3,})[^\n]*\n.*?(?:^[ \t]*\1[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)
_EXAMPLE = re.compile(r"^[ \t]*>>>.*(?:\n(?![ \t]*(?:$|\"\"\"|''')).*)*", re.MULTILINE)
_REQUESTS = (
    COMPLETE_REQUEST,
    STDIN_REQUEST,
    STARTER_REQUEST,
    "Please solve the programming task below using a self-contained code snippet in a markdown code block.",
    "Please complete the following python code precisely:",
)
"""Sentences of problem files that say nothing about the problem."""
_OPENING = re.compile(
    r"\W*(?:please\s+)?write\s+(?:an?\s+)?(?:python\s+)?function\s+(?:to|that|which)?\s*", re.IGNORECASE
)


def families(problems: Sequence[Problem]) -> dict[str, str]:
    """The family of each problem, by problem id; it is named after the first of its problems in alphabetical order.

    A family that a problem states itself joins all problems that state it. Problems with the same id must be the same.
    """
    known = {problem.id: problem for problem in problems}
    sets = _Sets(known)
    _join_equal(sets, ((problem.id, f"family {problem.family}") for problem in known.values() if problem.family))
    _join_equal(sets, ((problem.id, fingerprint(problem.statement)) for problem in known.values()))
    _join_equal(sets, ((problem.id, key) for problem in known.values() if (key := _solution(problem)) is not None))
    for one, other in _near({problem.id: _shingles(problem) for problem in known.values()}):
        sets.join(one, other)
    return sets.names()


def held_out(family_of: Mapping[str, str], share: float, seed: int, names: Collection[str] = ()) -> frozenset[str]:
    """The families that are never trained on: those named, or with a problem that is, and about `share` of the others.

    Which ones depends on seed and name only, so that problems that are added later move no family. Where there are two
    families or more and `share` is above 0, neither side is empty.
    """
    wanted = set(names)
    named = {family for problem, family in family_of.items() if problem in wanted or family in wanted}
    ordered = sorted(set(family_of.values()) - named, key=lambda family: _draw(seed, family))
    drawn = {family for family in ordered if _draw(seed, family) < share}
    if share > 0 and len(ordered) > 1:
        if not drawn and not named:
            drawn = {ordered[0]}
        if len(drawn) == len(ordered):
            drawn.discard(ordered[-1])
    return frozenset(named | drawn)


def description(problem: Problem) -> str:
    """What a statement says in words: the docstring of the code it leaves unfinished, else what stands around its code;
    without examples and without what its file says of every problem."""
    text = _EXAMPLE.sub("", _docstring(problem) or _FENCED.sub("", problem.statement) or problem.statement)
    for request in _REQUESTS:
        text = text.replace(request, "")
    return _OPENING.sub("", " ".join(text.split()), count=1)


class _Sets:
    """Problems that were joined (union-find)."""

    def __init__(self, members: Collection[str]) -> None:
        self._parents = {member: member for member in members}

    def join(self, one: str, other: str) -> None:
        first, second = sorted((self._root(one), self._root(other)))
        self._parents[second] = first

    def names(self) -> dict[str, str]:
        return {member: self._root(member) for member in self._parents}

    def _root(self, member: str) -> str:
        while (parent := self._parents[member]) != member:
            self._parents[member] = self._parents[parent]
            member = parent
        return member


def _join_equal(sets: _Sets, keys: Iterator[tuple[str, str]]) -> None:
    first: dict[str, str] = {}
    for problem, key in keys:
        sets.join(first.setdefault(key, problem), problem)


def _near(texts: Mapping[str, frozenset[int]]) -> Iterator[tuple[str, str]]:
    """Pairs whose resemblance is at least `NEAR`.

    Two such sets share one of the rarest elements of each, so that only few pairs are compared (prefix filtering;
    Chaudhuri, Ganti and Kaushik, 2006).
    """
    counts = Counter(element for text in texts.values() for element in text)
    seen: defaultdict[int, list[str]] = defaultdict(list)
    for problem, text in texts.items():
        rarest = sorted(text, key=lambda element: (counts[element], element))
        prefix = rarest[: len(text) - ceil(NEAR * len(text)) + 1]
        for other in {other for element in prefix for other in seen[element]}:
            if resemblance(text, texts[other]) >= NEAR:
                yield other, problem
        for element in prefix:
            seen[element].append(problem)


def _shingles(problem: Problem) -> frozenset[int]:
    return shingles(words(description(problem)), SHINGLE)


def _solution(problem: Problem) -> str | None:
    """Equal for problems with the same reference solution; None without one that is worth comparing."""
    tree = parse(problem.reference) if problem.reference else None
    found = shape(tree) if tree is not None else None
    return found.digest if found is not None and found.nodes >= SMALLEST else None


def _docstring(problem: Problem) -> str:
    """Of the entry point that the statement leaves to be written."""
    tree = code_tree(problem.statement)
    for node in reversed(tree.body if tree is not None else []):
        if isinstance(node, ast.FunctionDef) and node.name == problem.entry_point:
            texts = (stmt.value for stmt in node.body if isinstance(stmt, ast.Expr) and is_text(stmt))
            return next((str(ast.literal_eval(text)) for text in texts), "")
    return ""


def _draw(seed: int, family: str) -> float:
    """A number from 0 to 1 that looks random."""
    return int.from_bytes(sha256(f"{seed} {family}".encode("utf-8", "surrogatepass")).digest()[:7]) / 256**7
