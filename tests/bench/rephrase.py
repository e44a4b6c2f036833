"""The same task in other words: what the repeat test of the memory asks a second time.

    .venv/bin/python -m tests.bench.rephrase shared/data/mbpp_train.jsonl.gz [--count 10] [--seed 0] [--rename]

By rule: another opening, other words for common verbs and nouns, the stub as it is or as prose with the signature, the
example as doctest or as assert. By a model: it rewords the description alone. In both, the example and the signature
come from the original; what is made is only used if the finder of examples finds the same tests and the same entry
point in it.
"""

from __future__ import annotations

import argparse
import ast
import random
import re
import textwrap
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from agent.examples import find_tests
from agent.problems import COMPLETE_REQUEST, fenced, load
from agent.task import Message, read_problem
from memory.fingerprint import words
from memory.records import AssertTest, CallTest, CodeTest, Problem, Test
from tests.bench.described import description, stub

Chat = Callable[[Sequence[Message]], Awaitable[str]]
"""Asks a model."""

OPENINGS = (
    "Implement a Python function",
    "I need a Python function",
    "Please provide a function in Python",
    "Can you write me a Python function",
    "Create a function",
    "Task: implement a Python function",
)
"""Before "to find …" or "that finds …"."""
SYNONYMS: dict[str, tuple[str, ...]] = {
    r"find(?: out)?,?": ("determine", "work out", "obtain"),
    r"calculate": ("compute", "work out"),
    r"check (?:whether|if)": ("test whether", "determine whether", "decide whether"),
    r"get": ("obtain",),
    r"convert": ("turn", "transform"),
    r"remove": ("delete", "drop"),
    r"count the number of": ("count the", "determine the number of"),
    r"extract": ("pull out",),
    r"(?<=\bthe )given": ("supplied", "provided"),
    r"(?<=\ba )given": ("supplied", "provided"),
    r"maximum(?= (?:sum|product|value|number|difference|length|element)\b)": ("largest possible", "greatest"),
    r"minimum(?= (?:sum|product|value|number|difference|length|element)\b)": ("smallest possible", "smallest"),
    r"largest": ("biggest",),
    r"specified": ("stated",),
    r"by using": ("with the help of",),
    r"(?<!by )using": ("with the help of", "by means of"),
    r"elements of": ("entries of",),
    r"elements in": ("entries in",),
}
"""Pattern of a word or two, and what says the same."""
OPPOSITES: tuple[tuple[str, str], ...] = (
    (r"even\b", r"odd\b"),
    (r"first|begin\w*|start\w*|initial", r"last|end(?:s|ing)?\b|final|tail"),
    (r"max\w*|large\w*|great\w*|big\w*|high\w*|(?<!at )most", r"min\w*|small\w*|(?<!at )least|low(?:est)?\b|few\w*"),
    (r"ascending|increasing", r"descending|decreasing"),
    (r"upper\s?-?case", r"lower\s?-?case"),
    (r"left\w*", r"right\w*"),
    (r"positive", r"negative"),
    (r"longest|longer", r"shortest|shorter"),
    (r"union", r"intersection"),
    (r"product|multipl\w*", r"sum\b|summation|total|add\w*"),
)
"""Words that a rewording must not exchange, lose or bring in."""
_NEGATION = re.compile(
    r"(?<!\bor )\b(?:not|no|non|nor|never|neither|without|except|unequal|dissimilar)\b|n't\b", re.IGNORECASE
)
_LITERAL = re.compile(r"\d+(?:\.\d+)?|(?<=')[^'\n]{1,20}(?=')|(?<=\")[^\"\n]{1,20}(?=\")")
_FORBIDDEN = re.compile(r"```|>>>|==|\bassert\b|\bdef\b|\breturn\s*\(|^\s*#|\w\(", re.MULTILINE)
_REQUEST = re.compile(r"\W*write\s+(?:an?\s+)?(?:python\s+)?function\s+(to|that|which)?\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rephrased:
    """A problem in other words; its tests, limits and reference are those of the original."""

    problem: Problem
    by: Literal["rule", "model"]
    fault: str = ""
    """Why the model's text was not used."""


class CannotRephrase(Exception):
    """The statement has no stub with a description and an example, or no rewording leaves its example readable."""


def main() -> None:
    """Print rephrasings by rule beside their originals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rename", action="store_true")
    given = parser.parse_args()
    problems = load(given.file)
    for problem in random.Random(given.seed).sample(problems, min(given.count, len(problems))):
        shown = renamed(problem, given.seed) if given.rename else problem
        print(f"## {problem.id}\n\n{problem.statement}\n\n--->\n\n{by_rule(shown, given.seed).problem.statement}\n")


def by_rule(problem: Problem, seed: int, fault: str = "") -> Rephrased:
    """The statement reworded and laid out anew, the same for the same problem and seed. Raises CannotRephrase."""
    chance = random.Random(f"{seed} {problem.id}")
    text = f"{chance.choice(OPENINGS)} {_reworded(_task(problem), chance)}"
    return Rephrased(problem=_stated(problem, text, chance), by="rule", fault=fault)


async def by_model(problem: Problem, chat: Chat, seed: int) -> Rephrased:
    """The description reworded by a model, laid out as `by_rule` does; by rule where its text cannot be trusted.

    Raises CannotRephrase, and what `chat` raises.
    """
    chance = random.Random(f"{seed} {problem.id}")
    said = " ".join(description(problem).split())
    text = " ".join((await chat(_question(said))).strip().strip("\"'“”").split())
    fault = _fault(said, text, problem)
    if fault:
        return by_rule(problem, seed, fault)
    return Rephrased(problem=_stated(problem, text, chance), by="model")


def renamed(problem: Problem, seed: int) -> Problem:
    """The problem with another name for its entry point, in the statement, the tests and the reference: two words of
    the description. A name that is a word of prose too is another one only where it is called or defined. Raises
    CannotRephrase for a problem without an entry point or a description."""
    old = problem.entry_point
    if old is None:
        raise CannotRephrase(f"{problem.id} has no entry point")
    chance = random.Random(f"{seed} {problem.id}")
    said = [word for word in dict.fromkeys(words(_task(problem))) if re.fullmatch(r"[a-z]{4,}", word)]
    taken = f"{problem.statement}\n{problem.reference or ''}"
    new = "_".join([*sorted(chance.sample(said, min(2, len(said))), key=said.index), "task"])
    while re.search(rf"\b{new}\b", taken):
        new += "_again"
    name = re.compile(rf"(?<![\w.]){re.escape(old)}(?!\w)" + ("" if "_" in old else r"(?=\s*\()"))
    return replace(
        problem,
        statement=name.sub(new, problem.statement),
        entry_point=new,
        visible=tuple(_test_renamed(test, name, new) for test in problem.visible),
        hidden=tuple(_test_renamed(test, name, new) for test in problem.hidden),
        reference=None if problem.reference is None else name.sub(new, problem.reference),
    )


def _task(problem: Problem) -> str:
    """What the function is to do: "to find …" or "that finds …"."""
    said = " ".join(description(problem).split())
    opening = _REQUEST.match(said)
    if opening is None or stub(problem) is None:
        raise CannotRephrase(f"{problem.id} is no stub that says what function to write")
    return said[opening.start(1) :] if opening[1] else f"to {said[opening.end() :]}"


def _reworded(task: str, chance: random.Random) -> str:
    """With other words; texts in quotes stay."""
    pieces = re.split(r"(\"[^\"]*\"|'[^']*'|`[^`]*`|\u2018[^\u2019]*\u2019)", task)
    for place in range(0, len(pieces), 2):
        for pattern, choices in SYNONYMS.items():
            same = chance.choice(choices)
            pieces[place] = re.sub(rf"(?<![\w-])(?:{pattern})(?![\w-])", same, pieces[place], flags=re.IGNORECASE)
    return "".join(pieces)


def _question(said: str) -> list[Message]:
    return [
        {
            "role": "user",
            "content": "Say the following programming task in other words, as another person would ask for it. Keep "
            "its meaning exactly: every condition, number and quoted text, nothing added, nothing left out. Answer "
            "with the reworded task alone, in one or two sentences, without code and without examples.\n\n"
            f"{said}",
        }
    ]


def _fault(said: str, text: str, problem: Problem) -> str:
    """Why a model's rewording cannot be trusted to ask for the same; empty if nothing is found against it."""
    before, after = words(said), words(text)
    known = {*before, *words(problem.entry_point or "")}
    if not 0.4 * len(before) <= len(after) <= 3 * len(before) + 10:
        return "much shorter or longer than the description"
    if after == before:
        return "the same words"
    if _FORBIDDEN.search(text):
        return "holds code"
    if strange := [word for word in after if "_" in word and word not in known]:
        return f"names {strange[0]}, which the description does not"
    if missing := set(_LITERAL.findall(said)) ^ set(_LITERAL.findall(text)):
        return f"{min(missing)} is in one of both only"
    for pair in OPPOSITES:
        for pattern in pair:
            there = re.compile(rf"\b(?:{pattern})", re.IGNORECASE)
            if bool(there.search(said)) != bool(there.search(text)):
                return f"one of both only says {pattern}"
    if bool(_NEGATION.search(said)) != bool(_NEGATION.search(text)):
        return "one of both only negates"
    return ""


def _stated(problem: Problem, text: str, chance: random.Random) -> Problem:
    """The problem with a statement made of the text, the original's signature and its example, in the first layout, in
    an order by chance, in which the same entry point and the same tests are found."""
    wanted = _checks(find_tests(problem.statement, problem.entry_point))
    for layout in chance.sample(LAYOUTS, len(LAYOUTS)):
        statement = layout(problem, text)
        if statement is None:
            continue
        read = read_problem(problem.id, [{"role": "user", "content": statement}])
        if read.entry_point == problem.entry_point and _checks(read.visible) == wanted:
            return replace(problem, statement=statement)
    raise CannotRephrase(f"{problem.id}: its example is found in no layout")


def _as_stub(problem: Problem, text: str) -> str:
    """The stub as it was, with the text as its docstring."""
    inside = textwrap.indent(f"{text}\n\n{_doctest(problem)}", "    ", lambda line: bool(line.strip()))
    code = f'{_header(problem)}\n    """\n{inside}\n    """'
    return f"{COMPLETE_REQUEST}\n\n{fenced(code)}"


def _with_signature(problem: Problem, text: str) -> str:
    """The text, then the signature, then the session of the example."""
    return f"{text}\n\nUse this signature:\n\n{fenced(_header(problem))}\n\nExample:\n\n{_doctest(problem)}"


def _with_assert(problem: Problem, text: str) -> str | None:
    """The text, the call to be provided, and the example as an assert."""
    asserts = "\n".join(sorted(_checks(find_tests(problem.statement, problem.entry_point))))
    return (
        f"{text}\n\nCall it `{_call(problem)}`. Your code should pass this test:\n\n{fenced(asserts)}"
        if asserts
        else None
    )


def _with_sentence(problem: Problem, text: str) -> str | None:
    """The text, the call to be provided, and the example in a sentence."""
    tests = [test for test in find_tests(problem.statement, problem.entry_point) if isinstance(test, CallTest)]
    says = " ".join(f"For example, `{test.call}` returns `{test.expected}`." for test in tests)
    return f"{text} The function is called `{_call(problem)}`. {says}" if says else None


LAYOUTS: tuple[Callable[[Problem, str], str | None], ...] = (_as_stub, _with_signature, _with_assert, _with_sentence)


def _header(problem: Problem) -> str:
    function = stub(problem)
    assert function is not None
    return f"def {function.name}({ast.unparse(function.args)}):"


def _call(problem: Problem) -> str:
    function = stub(problem)
    assert function is not None
    return f"{function.name}({ast.unparse(function.args)})"


def _doctest(problem: Problem) -> str:
    """The lines of the docstring from its first prompt on."""
    function = stub(problem)
    said = "" if function is None else ast.get_docstring(function) or ""
    start = said.find(">>>")
    return "" if start < 0 else textwrap.dedent(said[start:]).strip()


def _checks(tests: Iterable[Test]) -> frozenset[str]:
    """The tests as asserts, in one spelling."""
    made = set()
    for test in tests:
        match test:
            case CallTest():
                made.add(ast.unparse(ast.parse(f"assert {test.call} == {test.expected}")))
            case AssertTest():
                made.add(ast.unparse(ast.parse(test.source)))
            case _:
                made.add(repr(test))
    return frozenset(made)


def _test_renamed(test: Test, name: re.Pattern[str], new: str) -> Test:
    """`check` gets the function as its argument and knows no name."""
    match test:
        case CodeTest(runner="check"):
            return test
        case AssertTest() | CodeTest():
            return replace(test, source=name.sub(new, test.source))
        case CallTest():
            return replace(test, call=name.sub(new, test.call))
        case _:
            return test


if __name__ == "__main__":
    main()
