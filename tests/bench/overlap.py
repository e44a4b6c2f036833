"""Problems of one file that are nearly problems of another, by their text or by their solution.

    .venv/bin/python -m tests.bench.overlap shared/data/mbpp_train.jsonl.gz shared/data/mbpp_validation.jsonl.gz [--all]

What is compared of a text is its description without "Write a function to" and without examples: windows of three
words, as a share of those in either. What is compared of the solutions is the syntax tree without names. The pairs are
printed with both descriptions; `--all` prints those below the threshold too, to be read.

At 0.4 and above, MBPP train and validation show the same task in other words or with one word exchanged (odd for even,
sum for difference); from 0.38 down different tasks that share a phrase ("in a given list of lists"). The few below that
are the same task have the same solution.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.problems import load
from memory.fingerprint import resemblance, shingles, words
from memory.records import Problem
from memory.shape import Shape, shape
from memory.syntax import parse
from tests.bench.described import description

SHINGLE = 3
"""Words."""
NEAR = 0.4
"""Resemblance from which on two descriptions are near-duplicates."""
SHOWN = 0.25
"""Resemblance from which on `--all` shows a pair."""
SMALLEST = 10
"""Nodes; a smaller program is not worth comparing: it may be the solution of anything."""
_OPENING = re.compile(
    r"\W*(?:please\s+)?write\s+(?:an?\s+)?(?:python\s+)?function\s+(?:to|that|which)?\s*", re.IGNORECASE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A problem of the first file and one of the second."""

    first: Problem
    second: Problem
    resemblance: float
    """Of the descriptions, 0 to 1."""
    same_solution: bool

    @property
    def near(self) -> bool:
        """Whether the second is to be left out where the first is known."""
        return self.same_solution or self.resemblance >= NEAR


def main() -> None:
    """Print the pairs and what is to be left out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("--all", action="store_true")
    given = parser.parse_args()
    first, second = load(given.first), load(given.second)
    print("| first | second | resemblance | same solution | descriptions |\n|---|---|---:|---|---|")
    for pair in pairs(first, second):
        if pair.near or given.all:
            solution = "yes" if pair.same_solution else ""
            said = f"{said_in(pair.first)} / {said_in(pair.second)}"
            print(f"| {pair.first.id} | {pair.second.id} | {pair.resemblance:.2f} | {solution} | {said} |")
    leave = left_out(first, second)
    print(f"\n{len(leave)} of {len(second)} problems of the second file to be left out: {', '.join(sorted(leave))}")


def left_out(first: Sequence[Problem], second: Sequence[Problem]) -> frozenset[str]:
    """Ids of the problems of `second` that are nearly, or by their solution, in `first`."""
    return frozenset(pair.second.id for pair in pairs(first, second) if pair.near)


def pairs(first: Sequence[Problem], second: Sequence[Problem]) -> list[Pair]:
    """The pairs with a resemblance of at least `SHOWN` or the same solution, most alike first."""
    texts = [_shingles(problem) for problem in first]
    solutions = [_solution(problem) for problem in first]
    made: list[Pair] = []
    for problem in second:
        text, solution = _shingles(problem), _solution(problem)
        for place, other in enumerate(first):
            pair = Pair(
                first=other,
                second=problem,
                resemblance=resemblance(texts[place], text),
                same_solution=solution is not None and solution == solutions[place],
            )
            if pair.same_solution or pair.resemblance >= SHOWN:
                made.append(pair)
    return sorted(made, key=lambda pair: (-pair.resemblance, pair.first.id, pair.second.id))


def said_in(problem: Problem) -> str:
    """The description in one line, without its opening."""
    return _OPENING.sub("", " ".join(description(problem).split()), count=1)


def _shingles(problem: Problem) -> frozenset[int]:
    return shingles(words(said_in(problem)), SHINGLE)


def _solution(problem: Problem) -> Shape | None:
    tree = parse(problem.reference) if problem.reference is not None else None
    found = shape(tree) if tree is not None else None
    return found if found is not None and found.nodes >= SMALLEST else None


if __name__ == "__main__":
    main()
