"""Examples that call the function by another name, or write its text without quotes.

Both are read only where nothing else is meant: the strange name stands nowhere else in the statement, every such
example calls it, and their arguments fit the signature; bare words are text only for one parameter that the statement
itself declares to be a string.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent.examples.calls import calls
from agent.examples.signature import Signature
from memory.records import CallTest, Test

_HEADING = re.compile(r"\b(?:examples?|for instance|e\.g\.)", re.IGNORECASE)
_CALLED = re.compile(r"(?<![\w.])([A-Za-z_]\w*)\(")
_EXAMPLE = re.compile(r"^[ \t]*(?:assert[ \t]+)?([A-Za-z_]\w*)\(.*\)[ \t]*(?:=+>|==|->|➞|→)", re.MULTILINE)
_BARE = r"^([ \t]*){name}\(([A-Za-z]+)\)(?=[ \t]*(?:=+>|==|->|➞|→))"


def renamed(text: str, signature: Signature) -> Iterator[Test]:
    """Tests from such examples, for a statement in which no example calls the function by its name."""
    heading = _HEADING.search(text)
    if heading is None or signature.parameters is None:
        return
    shown = text[heading.end() :]
    names = set(_EXAMPLE.findall(shown))
    if names == {signature.name}:
        yield from _quoted(text, shown, signature)
        return
    name = names.pop() if len(names) == 1 else signature.name
    examples = len([match for match in _EXAMPLE.finditer(shown) if match[1] == name])
    if name == signature.name or len(re.findall(rf"\b{name}\b", text)) != examples:
        return
    if set(_CALLED.findall(shown)) - {name, "assert"}:
        return
    found = list(calls(re.sub(rf"(?:\bassert[ \t]+)?\b{name}\(", f"{signature.name}(", shown), signature))
    if len(found) == examples:
        yield from found


def _quoted(text: str, shown: str, signature: Signature) -> Iterator[Test]:
    """`f(abc) => True` with the words in quotes."""
    parameters = signature.parameters or ()
    if len(parameters) != 1:
        return
    parameter = parameters[0]
    declared = re.search(rf"\bstring[ \t]+[`'\"]?{re.escape(parameter.name)}\b", text)
    is_text = parameter.annotation == "str" or declared is not None
    pattern = re.compile(_BARE.format(name=re.escape(signature.name)), re.MULTILINE)
    words = {match[2] for match in pattern.finditer(shown)}
    if not is_text or len(words) < 2 or parameter.name in words or words & {"True", "False", "None"}:
        return
    for test in calls(pattern.sub(rf'\1{signature.name}("\2")', shown), signature):
        if isinstance(test, CallTest):
            yield test
