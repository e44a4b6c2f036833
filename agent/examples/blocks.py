"""Examples that name values instead of writing the call: `Input: nums = [2, 7], target = 9` with `Output: [0, 1]`,
`For n = 5 the output should be 8`, and a class driven by two lists, as LeetCode prints them."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping

from agent.examples.labels import pairs
from agent.examples.signature import Signature
from agent.examples.values import MAX_EXAMPLE, leading, literal, value_of
from memory.records import AssertTest, CallTest, Test
from memory.syntax import compiles, expression

_BINDING = re.compile(r"[`*_]{0,2}([A-Za-z_]\w*)[`*_]{0,2}[ \t]*(?:=(?!=)|:)\s*`?")
_BETWEEN = re.compile(r"`?\s*(?:,|;|\band\b)?\s*")
_GIVEN = re.compile(
    r"\b(?:for|if|given|when|with|say|suppose|let|input)\b:?[ \t]+"
    r"(?:you are given[ \t]+|the (?:input|list|string|array)[ \t]+)?"
    r"(?=[`*_]{0,2}[A-Za-z_]\w*[`*_]{0,2}[ \t]*=(?!=))",
    re.IGNORECASE,
)
_RESULT = re.compile(
    r"\b(?:the|your|its|expected)[ \t]+(?:(?:function|method|program|code)(?:'s)?[ \t]+)?"
    r"(?:output|result|answer|return value|function|method)?[ \t]*"
    r"(?:(?:should|must|will|would)[ \t]+(?:be|return|output|give)|is|=|:|returns?)[ \t]*:?[ \t]*`?"
    r"|\b(?:should|must|will)[ \t]+return[ \t]*:?[ \t]*`?"
    r"|,?[ \t]*(?:then[ \t]+)?\breturns?\b[ \t]*:?[ \t]*`?"
    r"|(?:=+>|->|➞|→|⟹|⇒)[ \t]*`?",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[`\"'*_ \t]*[.,;]?[ \t]*(?:$|\n|#|\()")
_RETURN_LINE = re.compile(r"^[ \t]*(?:returns?|output|result|answer|=+>)[ \t]*(?:=(?!=)|:)?[ \t]*(?=\S)", re.IGNORECASE)
_HEADING = re.compile(r"\bexamples?\b", re.IGNORECASE)
_STEP_LINE = re.compile(r"^[ \t]*(?:->|→|➞)")


def blocks(text: str, signature: Signature | None, entry_point: str | None) -> Iterator[Test]:
    """One test per example whose values fill the parameters of `signature` exactly."""
    for given, result, _ in pairs(text):
        if signature is None:
            test: Test | None = _driven(given.body, result.body, entry_point)
        else:
            test = _call(signature, given.body, result.body)
        if test is not None:
            yield test
    if signature is not None:
        yield from _sentences(text, signature)
        if signature.is_stub:
            yield from _listed(text, signature)


def _call(signature: Signature, given: str, result: str) -> Test | None:
    expected = _result(result)
    arguments = _arguments(given, signature)
    if expected is None or arguments is None or not signature.gives(expected):
        return None
    return CallTest(call=signature.call(arguments), expected=expected, from_json=_is_json(result, signature))


def _is_json(result: str, signature: Signature) -> bool:
    """LeetCode's values are JSON: its lists may stand for tuples."""
    if "." not in signature.target:
        return False
    try:
        json.loads(result.strip())
    except (ValueError, RecursionError):
        return False
    return True


def _result(text: str) -> str | None:
    """The literal that an output is: all of it, or its first paragraph, a comment after it left out."""
    text = text.replace("```", "").strip().strip("`").strip()
    paragraph = re.split(r"\n[ \t]*\n", text, maxsplit=1)[0]
    for candidate in (text, paragraph):
        value = literal(candidate)
        if value is not None:
            return value
    opened = leading(paragraph)
    if (
        opened is not None
        and re.match(r"[ \t]*(?:#|\(|$)", opened[1].partition("\n")[0])
        and "\n" not in opened[1].strip()
    ):
        return opened[0]
    return None


def _arguments(given: str, signature: Signature) -> list[str] | None:
    """Arguments in the order of the parameters."""
    given = given.replace("```", "").strip().strip("`").strip()
    if not given or len(given) > MAX_EXAMPLE or signature.parameters is None:
        return None
    bound = _bindings(given)
    if bound is not None and not bound[1].strip(" \t\n.;`"):
        return _placed(bound[0], signature)
    values = _plain(given)
    required = sum(parameter.required for parameter in signature.parameters)
    if values is None or not required <= len(values) <= len(signature.parameters) or not signature.takes(values):
        return None
    return values


def _plain(given: str) -> list[str] | None:
    """Values without names: one literal, or one on each line."""
    whole = literal(given)
    lines = [line for line in given.split("\n") if line.strip()]
    if whole is not None and (len(lines) == 1 or "," not in given or given[0] in "[{("):
        tree = expression(whole)
        if isinstance(tree, ast.Tuple) and not given.startswith("("):  # `1, 2` is two arguments
            return [ast.unparse(item) for item in tree.elts]
        return [whole]
    values = [literal(line) for line in lines]
    return [value for value in values if value is not None] if all(value is not None for value in values) else None


def _placed(values: Mapping[str, str], signature: Signature) -> list[str] | None:
    """Values by name; names that are no parameters count by position if every known name stands at its own place."""
    parameters = signature.parameters or ()
    names = [parameter.name for parameter in parameters]
    if signature.accepts(dict(values)):
        filled = [name for name in names if name in values]
        if filled == names[: len(filled)]:
            return [values[name] for name in filled]
        return [f"{name}={values[name]}" for name in filled]
    known = [name for name in values if name in names]
    in_place = all(names.index(name) == list(values).index(name) for name in known)
    if len(values) == len(names) and in_place and signature.takes(list(values.values())):
        return list(values.values())
    return None


def _bindings(text: str) -> tuple[dict[str, str], str] | None:
    """The leading `name = literal, name = literal` of the text and what follows it."""
    values: dict[str, str] = {}
    rest = text
    while True:
        match = _BINDING.match(rest)
        opened = leading(rest[match.end() :]) if match else None
        if match is None or opened is None or match[1] in values:
            return (values, rest) if values else None
        values[match[1]], after = opened
        gap = _BETWEEN.match(after)
        rest = after[gap.end() :] if gap else after
        if not _BINDING.match(rest):
            return values, after


def _sentences(text: str, signature: Signature) -> Iterator[Test]:
    """`For s = "ab", n = 2 … the output should be "x"`, within one line."""
    for line in text.split("\n"):
        if len(line) > MAX_EXAMPLE:
            continue
        match = _GIVEN.search(line)
        bound = _bindings(line[match.end() :]) if match else None
        if bound is None:
            continue
        values, rest = bound
        results = list(_RESULT.finditer(rest))[:20]
        arguments = _placed(values, signature) if set(values) <= _names(signature) else None
        if not results or arguments is None:
            continue
        opened = leading(rest[results[-1].end() :])
        if opened is None or not _SENTENCE_END.match(opened[1]) or not signature.gives(opened[0]):
            continue
        yield CallTest(call=signature.call(arguments), expected=opened[0])


def _names(signature: Signature) -> set[str]:
    return {parameter.name for parameter in signature.parameters or ()}


def _listed(text: str, signature: Signature) -> Iterator[Test]:
    """After the word `example`: lines `arr = [2, 1]`, perhaps steps that begin with an arrow, then `return [1, 2]`."""
    values: dict[str, str] = {}
    heading = _HEADING.search(text)
    for line in text[heading.end() :].split("\n") if heading is not None else []:
        bound = _bindings(line.strip()) if "=" in line and len(line) <= MAX_EXAMPLE else None
        if bound is not None and set(bound[0]) <= _names(signature) and not bound[1].strip(" \t.,;"):
            values = bound[0] if set(values) & set(bound[0]) else {**values, **bound[0]}
            continue
        result = _RETURN_LINE.match(line)
        if values and result is not None:
            expected = literal(line[result.end() :].strip().rstrip(".;"))
            arguments = _placed(values, signature)
            if expected is not None and arguments is not None and signature.gives(expected):
                yield CallTest(call=signature.call(arguments), expected=expected)
        if not _STEP_LINE.match(line):
            values = {}


def _driven(given_text: str, result: str, entry_point: str | None) -> AssertTest | None:
    """A class with several methods: a list of names, the class first, a list of argument lists, a list of results."""
    lines = [line for line in given_text.replace("```", "").split("\n") if line.strip(" `")]
    if entry_point is None or len(lines) != 2:
        return None
    names, arguments, results = (literal(line.strip(" `")) for line in (*lines, _result(result) or ""))
    if names is None or arguments is None or results is None:
        return None
    called, given, expected = value_of(names), value_of(arguments), value_of(results)
    if not (isinstance(called, list) and isinstance(given, list) and isinstance(expected, list)):
        return None
    same_length = len(called) == len(given) == len(expected) > 1
    if not same_length or called[0] != entry_point or expected[0] is not None:
        return None
    if not all(isinstance(name, str) and name.isidentifier() for name in called):
        return None
    if not all(isinstance(each, list) for each in given):
        return None
    made = f"made = {entry_point}({_joined(given[0])})\n"
    steps = [f"made.{name}({_joined(each)})" for name, each in zip(called[1:], given[1:], strict=True)]
    source = f"{made}assert [{', '.join(steps)}] == {expected[1:]!r}"
    return AssertTest(source=source) if compiles(source) else None


def _joined(values: list[object]) -> str:
    return ", ".join(repr(value) for value in values)
