"""What a statement demands of a program's form: names and constructs to use, or not to use.

Read by rule from plain English, and never guessed: a sentence that is conditional, optional or descriptive, a thing
that could be meant in two ways, and whatever is not known by its exact name yield no demand.
"""

from __future__ import annotations

import ast
import builtins
import re
import sys
from dataclasses import dataclass
from typing import Literal

from agent.prelude import STANDARD_IMPORTS

Kind = Literal["function", "method", "module", "member", "construct"]


@dataclass(frozen=True, slots=True)
class Subject:
    """A thing that a program can use."""

    kind: Kind
    """function: a built-in or a well-known name of the standard library. method: of a built-in type. member:
    `module.name`. construct: `recursion`, `loop`, `for loop`, `while loop`, `comprehension`, `list comprehension`,
    `lambda`, `import`, `third-party import`."""
    name: str


@dataclass(frozen=True, slots=True)
class Demand:
    """A thing that a program is to use, or is not to use."""

    subject: Subject
    wanted: bool


def demands(statement: str) -> tuple[Demand, ...]:
    """The demands that the statement clearly makes, in its order, each once. A thing both wanted and forbidden is
    neither."""
    found: dict[Demand, None] = {}
    for sentence in _SENTENCE_END.split(statement[:_MAX_CHARS]):
        clause = " ".join(sentence.split()).replace("\u2019", "'")
        if len(clause) <= _MAX_SENTENCE:
            found |= dict.fromkeys(Demand(subject, False) for subject in _forbidden(clause))
            found |= dict.fromkeys(Demand(subject, True) for subject in _wanted(clause))
    return tuple(demand for demand in found if Demand(demand.subject, not demand.wanted) not in found)


_MAX_CHARS = 20_000
_MAX_SENTENCE = 600
"""Longer ones are no sentences."""
_SENTENCE_END = re.compile(r"(?<=[.!?;])\s+|\n\s*\n|\n\s*(?=[-*\u2022#>]|\d+[.)]\s|\"\"\"|''')|\"\"\"|'''|```")

_FORBIDS = re.compile(
    r"(?:(?P<plain>\b(?:do not|don'?t|never))|\b(?:must not|mustn'?t|should not|shouldn'?t|may not|can ?not|"
    r"can'?t|(?:is|are) not allowed to|(?:isn|aren)'?t allowed to))\s+(?:use|import)\s+|"
    r"\bwithout\s+(?:(?:the\s+)?use\s+of\s+|using\s+|importing\s+|(?=(?:any\s+)?(?:recursion|loops|imports)\b))",
    re.IGNORECASE,
)
_WANTS = re.compile(
    r"(?:^|(?<=[,:] )|(?<=, but )|\b(?:must|should|shall|please|need to|needs to|have to|has to)\s+)use\s+|"
    r"(?P<doing>\b(?:by )?using\s+)",
    re.IGNORECASE,
)
_SUBJECT_OF_DO_NOT = frozenset(
    {"you", "please", "but", "and", "also", "it", "function", "method", "solution", "program", "code", "implementation"}
)
"""Words after which "do not use" is addressed to the program; elsewhere it may describe other things."""
_DOUBT = re.compile(
    r"\b(?:unless|when(?:ever)?|where|hint|tip|bonus|optional(?:ly)?|possibl[ey]|impossible|hard|difficult|"
    r"prefer(?:ably|red)?|ideally|might|try|challenge|follow[- ]?up|example|instance|instead|rather|suggest(?:ed)?|"
    r"(?:can|could) (?:you|we|it|this) (?:also |still )?(?:do|be|solve|find|come|manage)|some|many|most|not without)\b|"
    r"(?<!check )(?<!checks )(?<!see )(?<!determine )(?<!determines )(?<!tell )(?<!test )(?<!verify )(?<!true )"
    r"(?<!false )\bif\b",
    re.IGNORECASE,
)
"""Before the demand in its sentence: it does not hold always, or is no demand."""
_REQUEST = re.compile(
    r"^\W*(?:(?:please|can you|could you|i (?:want|need) you to|you (?:must|should|need to|have to))\s+)*"
    r"(?:write|implement|create|solve|find|sort|compute|complete|define|return|build|make|design|calculate|generate|"
    r"develop|code|reverse|count|check|convert|give|(?:i )?(?:need|want)|do)\b",
    re.IGNORECASE,
)
_NO_MANNER = re.compile(
    r"\b(?:\w+(?:ed|en)|built|made|without|avoid|than|of|before|after|when|while|if|like|for|from|start|stop|consider|"
    r"about|are|is|was|were|be|(?<!or )not)\s+$",
    re.IGNORECASE,
)
"""Before "using": it tells how something else was made, or is not asked for."""

_KINDS = r"(?:functions?|methods?|modules?|library|libraries|package|built-?ins?|keyword|class|expressions?)"
_ITEM = re.compile(
    r"(?:(?:the|any|a|an|python'?s?|built-?in|standard|library|explicit|both)\s+)*"
    r"(?:`(?P<quoted>[^`]{1,60})`|(?P<bare>\.?[A-Za-z_](?:[\w.]*\w)?(?:\(\))?))",
    re.IGNORECASE,
)
_KIND = re.compile(rf"\s+(?P<kind>{_KINDS})\b", re.IGNORECASE)
_JOINT = re.compile(r"\s*(?:,\s*)?(?P<word>\band\b|\bor\b|\bnor\b|,|/)\s*", re.IGNORECASE)
_CONSTRUCTS = (
    ("recursion", r"recursion|recursive (?:function|call|solution|approach)(?:e?s)?"),
    ("for loop", r"`?for`?[- ]loops?"),
    ("while loop", r"`?while`?[- ]loops?"),
    ("loop", r"loops?"),
    ("list comprehension", r"list comprehensions?"),
    ("comprehension", r"comprehensions"),
    ("lambda", r"`?lambdas?`?"),
    ("third-party import", r"(?:external|third[- ]party) (?:libraries|library|modules?|packages?)"),
    ("import", r"imports?|modules|libraries|packages|anything(?= *(?:[.,;!?]|$))"),
)
_CONSTRUCT = re.compile(
    r"(?:(?:the|any|a|an|python'?s?|explicit)\s+)*(?:"
    + "|".join(f"(?P<c{place}>{pattern})" for place, (_, pattern) in enumerate(_CONSTRUCTS))
    + r")(?![\w`(])",
    re.IGNORECASE,
)
_REGEX = re.compile(r"(?:a |the )?(?:regex(?:es)?|regular expressions?)\b", re.IGNORECASE)
_END = re.compile(
    r"\s*(?:$|[.,;:!?)\u2013\u2014]|(?:anywhere|at all|in (?:your|the|this) (?:code|program|function|solution))\b)"
)
"""After what is forbidden: the prohibition holds without conditions."""
_GOES_ON = re.compile(r"\s*(?:to|for|in|on|with|and|that|which|so)\b", re.IGNORECASE)
"""After what is wanted: what it is wanted for."""
_EXCEPTION = re.compile(
    r"^[\s,;(]*(?:if|unless|when|where|except|other than|besides|apart|more|twice|as|instead)\b", re.IGNORECASE
)

_TYPES = (str, list, dict, set, tuple, bytes, int, float)
_METHODS = frozenset(name for kind in _TYPES for name in dir(kind) if not name.startswith("_"))
_FUNCTIONS = frozenset(
    name for name in dir(builtins) if name.islower() and not isinstance(getattr(builtins, name), type)
) | {"enumerate", "filter", "map", "range", "reversed", "zip"}
_MODULES = sys.stdlib_module_names | {"numpy", "pandas", "scipy", "sympy", "networkx"}
_LIBRARY = frozenset(
    alias.name
    for node in ast.parse(STANDARD_IMPORTS).body
    if isinstance(node, ast.ImportFrom) and node.module != "typing"
    for alias in node.names
)
_UNMISTAKABLE = frozenset(
    {"sorted", "reversed", "len", "eval", "exec", "enumerate", "isinstance", "issubclass", "getattr", "setattr", "ord"}
    | {"hasattr", "chr", "divmod", "itertools", "functools", "heapq", "numpy", "pandas", "deque", "defaultdict"}
    | {"isqrt", "islice", "groupby", "heapify", "heappush", "heappop", "insort", "Counter", "OrderedDict"}
)
"""Names that are no words of English, so that they need neither code marks nor "function" behind them."""


def _forbidden(clause: str) -> list[Subject]:
    subjects: list[Subject] = []
    for match in _FORBIDS.finditer(clause):
        before = clause[: match.start()]
        words = re.findall(r"[\w']+|[^\w\s]", before.lower())
        described = match["plain"] and words and words[-1].isalpha() and words[-1] not in _SUBJECT_OF_DO_NOT
        if described or _DOUBT.search(before):
            continue
        read, rest, _ = _subjects(clause[match.end() :])
        if read and _END.match(rest) and not _EXCEPTION.match(rest):
            subjects += read
    return subjects


def _wanted(clause: str) -> list[Subject]:
    subjects: list[Subject] = []
    for match in _WANTS.finditer(clause):
        before = clause[: match.start()]
        if _DOUBT.search(before) or (match["doing"] and (not _REQUEST.match(before) or _NO_MANNER.search(before))):
            continue
        read, rest, choice = _subjects(clause[match.end() :])
        ends = _END.match(rest) or _GOES_ON.match(rest)
        if read and not choice and ends and not _EXCEPTION.match(rest):
            subjects += [subject for subject in read if not subject.name.endswith("import")]
    return subjects


def _subjects(text: str) -> tuple[list[Subject], str, bool]:
    """The known things that `text` begins with, what follows them, and whether they are alternatives. None if one
    thing of the list is not known."""
    items: list[tuple[str, bool] | Subject] = []
    kind, choice = "", False
    while True:
        if match := _CONSTRUCT.match(text):
            place = next(index for index, _ in enumerate(_CONSTRUCTS) if match[f"c{index}"])
            items.append(Subject("construct", _CONSTRUCTS[place][0]))
        elif match := _REGEX.match(text):
            items.append(Subject("module", "re"))
        elif match := _ITEM.match(text):
            items.append((match["quoted"] or match["bare"], match["quoted"] is not None))
        else:
            return [], text, choice
        text = text[match.end() :]
        if (named := _KIND.match(text)) is not None:
            kind, text = named["kind"].lower(), text[named.end() :]
        joint = _JOINT.match(text)
        if joint is None or not _goes_on(text[joint.end() :], joint["word"].lower()):
            break
        choice |= joint["word"].lower() in {"or", "/"}
        text = text[joint.end() :]
    read = [item if isinstance(item, Subject) else _subject(*item, kind) for item in items]
    known = [subject for subject in read if subject is not None]
    return (known if len(known) == len(read) else []), text, choice


def _goes_on(text: str, word: str) -> bool:
    """Whether a list goes on with another thing, not with another clause."""
    if word in {"or", "nor", "/"} or _CONSTRUCT.match(text):
        return True
    match = _ITEM.match(text)
    return match is not None and _subject(match["quoted"] or match["bare"], True, "") is not None


def _subject(text: str, quoted: bool, kind: str) -> Subject | None:
    """What a name means, if that is clear."""
    name = text.strip().removesuffix("()")
    marked = quoted or text.endswith("()") or text.startswith(".") or bool(kind)
    owner, _, last = name.rpartition(".")
    if owner in _MODULES and last.isidentifier():
        return Subject("member", name)
    if name.startswith(".") or owner in {known.__name__ for known in _TYPES}:
        return Subject("method", last) if last in _METHODS else None
    if owner or not (marked or name in _UNMISTAKABLE):
        return None
    if kind.startswith(("module", "librar", "package")):
        return Subject("module", name) if name in _MODULES else None
    if name in _FUNCTIONS or name in _LIBRARY:
        return Subject("function", name)
    if name in _METHODS:
        return Subject("method", name)
    return Subject("module", name) if name in _MODULES else None
