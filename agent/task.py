"""From a chat to a `Problem`: is a program asked for, in which language, under which name, how can it be checked?"""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent.examples import find_tests
from agent.examples.failures import failure
from agent.given_tests import called_name
from agent.prelude import STANDARD_IMPORTS
from agent.stub import code_tree, is_unfinished
from memory.records import Problem, Test, TestSource

Message = Mapping[str, str]
"""One chat turn with the keys `role` and `content`, both strings."""

_ASKS = re.compile(
    r"\b(?:write|implement|complete|create|develop|code|solve|fix|debug|refactor|rewrite|correct|repair|finish|generate|"
    r"design|define|build|make|give me|need|provide|convert|translate|port)\b",
    re.IGNORECASE,
)
_PROGRAM = re.compile(
    r"\b(?:function|program|method|class|script|code|algorithm|solution|implementation|snippet|module|python|def)\b",
    re.IGNORECASE,
)
_SIGNATURE = re.compile(r"^[ \t]*(?:async[ \t]+def|def|class)[ \t]+\w+", re.MULTILINE)
_OTHER_LANGUAGES = re.compile(
    r"\b(?:javascript|typescript|java|c\+\+|c#|golang|rust|ruby|php|kotlin|swift|scala|haskell|bash|shell|sql|html|css|"
    r"perl|lua|julia|matlab)\b|\b(?:in|a) go\b(?! ahead)|"
    r"```(?:js|ts|jsx|tsx|java|cpp|c|cs|go|rust|rb|php|kt|swift|sh|sql|html|css)\b",
    re.IGNORECASE,
)
_TALK = re.compile(
    r"^\s*(?:please\s+|can you\s+|could you\s+)?(?:explain|describe|what|why|how do(?:es)?\b|review|summari[sz]e|"
    r"compare|who|when|where|tell me|list)\b|"
    r"\b(?:poem|story|essay|e-?mail|letter|joke|haiku|article|blog|song|limerick)\b",
    re.IGNORECASE,
)
_WHY = re.compile(r"\b(?:explain|why|what does|what is)\b(?![^.?!\n]*\b(?:fix|repair|correct)\b)", re.IGNORECASE)
"""A question about a failure asks for words, unless it also asks for the repair."""
_TEST_NAME = re.compile(r"test(?:_|$)|Test(?:[A-Z_]|$)")
"""A pasted test is no program."""
_HOUSEKEEPING = re.compile(
    r"(?:generate|create|suggest|write|provide)\s+(?:a|an|\d+(?:-\d+)?|some|three|five)?\s*(?:concise|short|brief|broad|relevant)?,?\s*"
    r"(?:\d+-\d+ word )?(?:title|titles|tags?|follow-?up|summary|commit message|chat name)",
    re.IGNORECASE,
)
_NAMED = re.compile(r"\b(?:function|method|class)\s+(?:named\s+|called\s+)?[`'\"]?([A-Za-z_]\w*)[`'\"]?\s*\(|"
                    r"\b(?:function|method|class)\s+(?:named|called)\s+[`'\"]?([A-Za-z_]\w*)|"
                    r"`([A-Za-z_]\w*)\([^`]*\)`")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Route:
    """Whether a chat is refined, and the reason, for the log."""

    refine: bool
    reason: str


def route(messages: Sequence[Message]) -> Route:
    """Decide from the text alone whether a Python program is asked for; doubt means no (client_contract 1.3)."""
    text = _last_user_text(messages)
    if _HOUSEKEEPING.search(text):
        return Route(False, "housekeeping request")
    python = re.search(r"\bpython\b|```py", text, re.IGNORECASE) is not None
    if _OTHER_LANGUAGES.search(text) and not python:
        return Route(False, "another language than Python")
    if _holds_a_stub(text):
        return Route(True, "unfinished Python code")
    if failure(text) is not None and (_SIGNATURE.search(text) or "```" in text) and not _WHY.search(text):
        return Route(True, "code that fails")
    prose = re.sub(r"```.*?(?:```|\Z)", "", text, flags=re.DOTALL)
    if _TALK.search(prose):
        return Route(False, "a question, not a program")
    if _ASKS.search(prose) and (_PROGRAM.search(text) or _SIGNATURE.search(text) or ">>>" in text):
        return Route(True, "asks for a program")
    return Route(False, "no program asked for")


def read_problem(
    problem_id: str,
    messages: Sequence[Message],
    tests: Sequence[Test] = (),
    entry_point: str | None = None,
) -> Problem:
    """The problem that the last user turn states, with the request's tests, else those found in the statement."""
    statement = _last_user_text(messages)
    if tests:
        name = entry_point or called_name(tests) or _entry_point(statement)
        visible, source = tuple(tests), TestSource.REQUEST
    else:
        name = entry_point or _entry_point(statement)
        visible = find_tests(statement, name)
        name = name or called_name(visible)
        source = TestSource.PROMPT if visible else TestSource.NONE
    return Problem(
        id=problem_id,
        statement=statement,
        entry_point=name,
        visible=visible,
        visible_source=source,
        prelude=_prelude(statement, name),
    )


def _last_user_text(messages: Sequence[Message]) -> str:
    return next((message["content"] for message in reversed(messages) if message["role"] == "user"), "")


def _entry_point(statement: str) -> str | None:
    """The unfinished definition, else the only definition, else a name called a function in prose."""
    tree = code_tree(statement)
    if tree is not None:
        definitions = [
            node
            for node in tree.body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            and not _TEST_NAME.match(node.name)
            and not any(ast.unparse(base).endswith("TestCase") for base in getattr(node, "bases", []))
        ]
        unfinished = [node for node in definitions if is_unfinished(node)]
        if unfinished:
            return unfinished[-1].name
        if definitions:
            return definitions[-1].name
    named = (name for match in _NAMED.finditer(statement) for name in match.groups() if name)
    return next((name for name in named if not keyword.iskeyword(name)), None)


def _prelude(statement: str, entry_point: str | None) -> str:
    """Standard imports, then what the statement's own code defines beside the entry point."""
    tree = code_tree(statement)
    if tree is None:
        return STANDARD_IMPORTS
    own = [
        node
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef | ast.Assign)
        and getattr(node, "name", None) != entry_point
        and not is_unfinished(node)
    ]
    return STANDARD_IMPORTS + "".join(ast.unparse(node) + "\n" for node in own)


def _holds_a_stub(text: str) -> bool:
    tree = code_tree(text)
    return tree is not None and any(is_unfinished(node) for node in tree.body)
