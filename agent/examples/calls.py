"""Calls of literals and what they give, in prose or with an arrow: `f(1) ➞ 2`, `f([1]) should return [2]`."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator
from dataclasses import dataclass

from agent.examples.doctests import printed, raises
from agent.examples.signature import Signature
from agent.examples.values import closing, computed, is_constant, leading, literal, value_of
from memory.records import CallTest, Test
from memory.syntax import expression

_CALL = r"(?<![\w.])(?:[A-Za-z_]\w*(?:\(\))?\.)?({name})\("
_ANY_NAME = r"[A-Za-z_]\w*"
_SHOULD = r"(?:should|must|shall|will|would|has[ ]to|needs[ ]to|is[ ]expected[ ]to)"
_ARROW = re.compile(
    rf"""`?[ \t]*+(?:
      (?P<sure>
        \#?[ \t]*(?:={{2,3}}>|=>|-{{1,2}}>|➞|→|⟹|⇒|➜|↦|\|->)  # arrows
      | ={{2,3}}                                              # equality
      | (?:\#|//)[ \t]*(?:=+>|->|returns?:?|should[ ](?:be|return)|gives|output:|expected:|result:)?
      | ,?[ \t]*(?:the\ (?:function|method|result|output|answer)[ \t]+)?{_SHOULD}[ \t]+
        (?:be|return|give|yield|equal|output|produce|evaluate[ ]to)
      )
    | (?P<told>,?[ \t]*(?:returns?|gives|yields|equals|is|outputs|produces|evaluates[ ]to|results?[ ]in))
    | (?P<equals>=(?!=))
    )[ \t]*:?[ \t]*`?[ \t]*""",
    re.VERBOSE | re.IGNORECASE,
)
_DEMAND = re.compile(r"should|must|shall|has to|needs to|expected", re.IGNORECASE)
_RAISES = re.compile(
    rf"`?[ \t]*+(?:=+>|->|➞|→|{_SHOULD}|\#)?[ \t]*(?:raises?|throws?)[ \t]+(?:an?[ \t]+)?`?(?P<name>[A-Z]\w+)`?"
    r"(?:[ \t]+(?:exception|error))?[.;]?[ \t]*(?:\n|$)",
    re.IGNORECASE,
)
_NOT_AN_EXAMPLE = re.compile(r"^[ \t]*(?:def|class|return|if|elif|while|import|from|assert|@)\b|>>>|\bassert\b")
_LOOP = re.compile(r"^[ \t]*for\b.*\bin\b")
_REASON = re.compile(r"[ \t]*[.,;]?[ \t]*(?:#|//|--|\u2014|\u2013|\(|[ \t]{2,}|because\b|since\b|as\b)", re.IGNORECASE)
_DOUBT = re.compile(
    r"\b(?:but|instead|wrong(?:ly)?|incorrect(?:ly)?|expect(?:ed|s)?|should|got|actual(?:ly)?|bug|currently|not|or|"
    r"fails?|whereas|rather|must)\b|n't\b",
    re.IGNORECASE,
)
"""After a value: it may be the wrong one, or one of several."""
_WRONG = re.compile(
    r"\b(?:but|instead|wrong(?:ly)?|incorrect(?:ly)?|got|actual(?:ly)?|bug|currently|not|fails?|whereas)\b|n't\b",
    re.IGNORECASE,
)
"""Before a call: it may show what must not be."""
_TROUBLE = re.compile(
    r"\b(?:bug|buggy|broken|fails? with|failing|doesn't work|does not work|not working|but (?:i )?got|"
    r"unexpected(?:ly)?|traceback|wrong (?:result|answer|output|value)s?|but (?:it|mine) (?:returns|gives|prints))\b",
    re.IGNORECASE,
)
"""In a statement that reports a failure, what a call `returns` is what it wrongly returns."""
_END = re.compile(r"[ \t`*_\"']*[.,;!)]*[ \t`*]*(?:\n|$|<)")
_NEXT = re.compile(r"`?[ \t]*[.,;]?[ \t]*(?:and|while|,)?[ \t]*`?(?=[A-Za-z_][\w.]*\()")
_EXAMPLES = re.compile(r"^[ \t]*+[#*_>-]{0,5}[ ]?examples?\b", re.MULTILINE | re.IGNORECASE)
_MAX_CALLS = 500


@dataclass(frozen=True, slots=True)
class Found:
    """A call in the text with what stands after it."""

    name: str
    source: str
    node: ast.Call
    is_printed: bool
    before: str
    """What stands on the line before it."""
    after: str
    """The rest of its line and one line more."""


def calls(text: str, signature: Signature | None, entry_point: str | None = None) -> Iterator[Test]:
    """Examples of the function, or, where no entry point is known, of the one function that all of them call.

    An `=` may also define (`f(1) = 1`, `f(n) = f(n - 1) + 1`): such lines count only if their values are of one type,
    all of them or those after the last heading `Example`.
    """
    name = signature.name if signature is not None else None
    if name is None and entry_point is not None:
        return
    in_trouble = _TROUBLE.search(text) is not None
    read: list[tuple[int, str, str, Test]] = []
    for start, found in _found(text, name or _ANY_NAME):
        made = _read(found, signature, in_trouble=in_trouble)
        if made is not None:
            read.append((start, found.name, *made))
    if name is None and len({each[1] for each in read}) != 1:
        return
    definite = _equations(text, [(start, test) for start, _, arrow, test in read if arrow == "equals"])
    if name is None:
        definite = set()
    for start, _, arrow, test in read:
        if arrow != "equals" or start in definite:
            yield test


def _found(text: str, name: str) -> Iterator[tuple[int, Found]]:
    pattern = re.compile(_CALL.format(name=name if name == _ANY_NAME else re.escape(name)))
    for number, match in enumerate(pattern.finditer(text)):
        if number == _MAX_CALLS:
            return
        if hasattr(builtins, match[1]) and name == _ANY_NAME:
            continue
        line_start = text.rfind("\n", 0, match.start()) + 1
        before = text[line_start : match.start()][-300:]
        if _NOT_AN_EXAMPLE.search(before) or _LOOP.match(before) or before.rstrip().endswith(("=", " or")):
            continue
        end = closing(text, match.end() - 1)
        if end is None:
            continue
        source = " ".join(line.strip() for line in text[match.start() : end].split("\n"))
        is_printed = before.endswith("print(") and text[end : end + 1] == ")"
        end += is_printed
        node = _call(source)
        if node is None:
            continue
        second = text.find("\n", text.find("\n", end) + 1) if "\n" in text[end:] else -1
        after = text[end : second if second >= 0 else len(text)]
        yield match.start(), Found(match[1], source, node, is_printed, before, after[:5000])


def _call(source: str) -> ast.Call | None:
    """The call, if all its arguments are literals."""
    match expression(source):
        case ast.Call(args=args, keywords=keywords) as node if all(
            is_constant(value) for value in (*args, *(keyword.value for keyword in keywords))
        ):
            return node
        case _:
            return None


def _read(found: Found, signature: Signature | None, *, in_trouble: bool) -> tuple[str, Test] | None:
    """How the expectation is written (`sure`, `told`, `equals`) and the test."""
    call = _written(found, signature)
    if call is None:
        return None
    raised = _RAISES.match(found.after)
    if raised is not None and not found.is_printed:
        kind = getattr(builtins, raised["name"], None)
        is_error = isinstance(kind, type) and issubclass(kind, Exception)
        return ("sure", raises(call, raised["name"])) if is_error else None
    arrow = _ARROW.match(found.after)
    if arrow is None or not arrow.lastgroup:
        return None
    is_demand = _DEMAND.search(arrow[0]) is not None
    if not is_demand and _WRONG.search(found.before):
        return None
    if not is_demand and in_trouble and (arrow["told"] or _DOUBT.search(found.after)):
        return None
    rest = found.after[arrow.end() :].partition("\n")[0]
    if not rest.strip() and arrow[0].strip() not in ("#", "//"):
        return None
    expected = _expected(rest, found.after[arrow.end() :])
    if expected is None or (signature is not None and not signature.gives(expected)):
        return None
    if found.is_printed:
        if isinstance(value_of(expected), str):
            return None
        node = expression(f"print({call})")
        shown = None if node is None else printed(node, _as_written(rest, expected))
        return None if shown is None else ("sure", shown)
    return arrow.lastgroup, CallTest(call=call, expected=expected)


def _written(found: Found, signature: Signature | None) -> str | None:
    """The call as the program has to be called."""
    if signature is None:
        return found.source if isinstance(found.node.func, ast.Name) else None
    if any(isinstance(argument, ast.Starred) for argument in found.node.args):
        return None
    values = [ast.unparse(argument) for argument in found.node.args]
    if not found.node.keywords and not signature.takes(values):
        return None
    if ast.unparse(found.node.func) == signature.target:
        return found.source
    arguments = found.source.partition(f"{signature.name}(")[2]
    return f"{signature.target}({arguments}"


def _as_written(rest: str, expected: str) -> str:
    """The spelling of the value in the text: `1.50` is printed otherwise than `1.5`."""
    return rest.strip().strip("`").strip() if literal(rest.strip().strip("`")) == expected else expected


def _expected(rest: str, following: str) -> str | None:
    """The literal that the rest of the line is, apart from a closing mark, a comment, a reason or a further example."""
    bare = rest.strip().strip("`").strip().rstrip(".;, ").strip("`").strip()
    whole = _undoubted(bare) or computed(bare)
    if whole is not None:
        return whole
    opened = leading(following)
    if opened is None:
        return None
    value, after = opened
    line = after.partition("\n")[0]
    if _DOUBT.search(line) and not _NEXT.match(line):
        return None
    if _END.match(after) or _REASON.match(after) or _NEXT.match(after):
        return _undoubted(value)
    return None


def _undoubted(text: str) -> str | None:
    """`("Venus")` in prose: a tuple that lost its comma, or a string in brackets? Nobody can tell."""
    value = literal(text)
    if value is None or (value.startswith("(") and not isinstance(value_of(value), tuple)):
        return None
    return value


def _equations(text: str, lines: list[tuple[int, Test]]) -> set[int]:
    """Where the `=` lines stand that are examples: values of one type, among all or after the last heading."""
    headings = [
        match.end() for match in re.finditer(r"^[ \t]*(?:\W{0,5})examples?\b", text, re.MULTILINE | re.IGNORECASE)
    ]
    for after in (0, *headings[-1:]):
        considered = [(start, test) for start, test in lines if start >= after]
        kinds = {type(value_of(test.expected)) for _, test in considered if isinstance(test, CallTest)}
        if len(kinds) == 1:
            return {start for start, _ in considered}
    return set()
