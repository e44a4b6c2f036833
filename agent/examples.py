"""Tests that stand in a prompt: assert lines, doctests, and lines such as `f(1, 2) == 3` or `f("a") => "b"`.

An expectation is never invented: a line counts only if the call's arguments and the whole expected value are Python
literals. What cannot be read exactly is dropped.
"""

from __future__ import annotations

import ast
import doctest
import re
from collections.abc import Iterator

from memory.records import AssertTest, CallTest, Test

_ARROWS = (
    "==>",
    "=>",
    "==",
    "->",
    "➞",
    "→",
    "⟹",
    "should return",
    "returns",
    "return",
    "# returns",
    "# =>",
    "#=>",
    "=",
)
_PYTHON_KEYWORD_LINE = re.compile(r"^\s*(?:def|class|return|if|elif|for|while|import|from)\b")
_ASSERT = re.compile(r"(?<!>>> )(?<![\w.])assert[ (](?=.)")
_MAX_ASSERT_LINES = 20
_CLOSING = ".,;` "
"""What may follow a value in prose; `2.` at the end of a sentence is the integer."""


def find_tests(statement: str, entry_point: str | None) -> tuple[Test, ...]:
    """The tests in `statement`, in order of appearance by kind, without repetitions. Never raises."""
    text = statement.replace('"""', "\n").replace("'''", "\n")
    found: list[Test] = [*_asserts(text), *_doctests(text)]
    if entry_point:
        found.extend(_call_lines(text, entry_point))
    unique: dict[str, Test] = {}
    for test in found:
        unique.setdefault(_key(test), test)
    return tuple(unique.values())


def _asserts(text: str) -> Iterator[Test]:
    """Assert statements, at the start of a line or within one; a statement may go on over several lines."""
    for match in _ASSERT.finditer(text):
        lines = text[match.start() :].split("\n", _MAX_ASSERT_LINES)[:_MAX_ASSERT_LINES]
        for length in range(1, len(lines) + 1):
            source = _parsable("\n".join(lines[:length]))
            if source is not None:
                if _is_check(source):
                    yield AssertTest(source=source)
                break


def _parsable(text: str) -> str | None:
    """The text, or what stands before its first backtick, whichever is Python."""
    for source in (text.strip(), text.partition("`")[0].strip()):
        if _parse(source) is not None:
            return source
    return None


def _is_check(source: str) -> bool:
    """One assert statement that calls something."""
    body = ast.parse(source).body
    return len(body) == 1 and isinstance(body[0], ast.Assert) and _uses_a_call(body[0].test)


def _doctests(text: str) -> Iterator[Test]:
    """Prompts `>>>` with a literal result. Statements before an expression of the same block become its setup."""
    for block in re.findall(r"(?:^[ \t]*>>>.*\n?(?:^(?![ \t]*$).*\n?)*)+", text, re.MULTILINE):
        try:
            examples = doctest.DocTestParser().get_examples(_even_margin(block))
        except ValueError:
            continue
        setup = ""
        for example in examples:
            source, want = example.source.strip(), example.want.strip()
            tree = _parse(source)
            if tree is None or example.exc_msg is not None:
                continue
            if not want:
                setup += source + "\n"
            elif len(tree.body) == 1 and isinstance(tree.body[0], ast.Expr) and is_literal(want):
                if setup:
                    yield AssertTest(source=f"{setup}assert ({source}) == {want}")
                elif _uses_a_call(tree.body[0].value):
                    yield CallTest(call=source, expected=want)


def _even_margin(block: str) -> str:
    """Strip each line's own indentation: results in prompts are often indented differently from their `>>>`."""
    return "\n".join(line if line.lstrip().startswith("...") else line.strip() for line in block.splitlines()) + "\n"


def _call_lines(text: str, entry_point: str) -> Iterator[Test]:
    """`entry_point(literals) ARROW literal` to the end of the line, a full stop or a comment after it allowed."""
    calls = [call for call in _calls(text, entry_point) if call is not None]
    equals_types = {type(ast.literal_eval(expected)) for arrow, _, expected in calls if arrow == "="}
    for arrow, call, expected in calls:
        if arrow == "=" and len(equals_types) > 1:
            continue
        yield CallTest(call=call, expected=expected)


def _calls(text: str, entry_point: str) -> Iterator[tuple[str, str, str] | None]:
    for match in re.finditer(rf"(?<![\w.]){re.escape(entry_point)}\(", text):
        line_start = text.rfind("\n", 0, match.start()) + 1
        before = text[line_start : match.start()]
        if ">>>" in before or "assert" in before or _PYTHON_KEYWORD_LINE.match(before):
            continue
        end = _closing(text, match.end() - 1)
        if end is None:
            continue
        call = text[match.start() : end]
        rest = text[end : text.find("\n", end) if "\n" in text[end:] else len(text)].strip().strip("`").strip()
        arrow = next((arrow for arrow in _ARROWS if rest.startswith(arrow)), None)
        if arrow is None or not _literal_arguments(call):
            continue
        expected = _leading_literal(rest[len(arrow) :].strip(" :"))
        if expected is not None:
            yield arrow, " ".join(call.split("\n")), expected


def _closing(text: str, opening: int) -> int | None:
    """Index after the bracket that closes the one at `opening`; quotes are respected."""
    depth, quote, index = 0, "", opening
    while index < min(len(text), opening + 4000):
        char = text[index]
        if quote:
            if char == "\\":
                index += 1
            elif char == quote or char == "\n":
                quote = ""
        elif char in "'\"":
            quote = char
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
            if depth == 0:
                return index + 1
        index += 1
    return None


def _literal_arguments(call: str) -> bool:
    tree = _parse(call)
    if tree is None or len(tree.body) != 1:
        return False
    node = tree.body[0]
    if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Call):
        return False
    values = [*node.value.args, *(keyword.value for keyword in node.value.keywords)]
    return all(is_literal(ast.unparse(value)) for value in values)


def _leading_literal(text: str) -> str | None:
    """The literal that the text is, apart from a comment, a closing mark or an explanation after it."""
    text = text.strip()
    without_comment = re.split(r"\s+#|\s{2,}", text, maxsplit=1)[0]
    without_reason = re.split(r"\s*[.;]?\s+(?:#|\(|because|since)", text)[0]
    for candidate in (without_comment.rstrip(_CLOSING), without_reason.rstrip(_CLOSING)):
        candidate = candidate.strip()
        candidate = {"true": "True", "false": "False", "null": "None"}.get(candidate, candidate)
        if candidate and is_literal(candidate) and not _is_doubtful(candidate):
            return candidate
    return None


def _is_doubtful(literal: str) -> bool:
    """`("Venus")` in prose: a tuple that lost its comma, or a string in brackets? Nobody can tell."""
    return literal.startswith("(") and not isinstance(ast.literal_eval(literal), tuple)


def is_literal(text: str) -> bool:
    """Whether the text is one Python literal."""
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return False
    return True


def _uses_a_call(node: ast.expr) -> bool:
    return any(isinstance(child, ast.Call) for child in ast.walk(node))


def _parse(source: str) -> ast.Module | None:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _key(test: Test) -> str:
    """Two spellings of one check are one test: compare what is called and what is expected."""
    match test:
        case CallTest():
            return ast.unparse(ast.parse(f"assert {test.call} == {test.expected}"))
        case AssertTest():
            return ast.unparse(ast.parse(test.source))
        case _:
            return repr(test)
