"""Whether what a test expects stands in the prompt: every number and every text of the expectation."""

from __future__ import annotations

import ast
import re
import warnings

from memory.records import AssertTest, CallTest, CodeTest, ProbeTest, StdioTest, Test

_TOKEN = re.compile(r"\w+(?:\.\w+)?|[^\w\s]")
_OURS = re.compile(r"\bmade\b|\braised\b|\berror\b")


def invented(test: Test, statement: str) -> str | None:
    """What is expected and does not stand in the statement; None if all of it does."""
    match test:
        case CallTest(expected=expected):
            return _missing(expected, statement)
        case StdioTest(stdin=stdin, stdout=stdout):
            return _missing_lines(stdin, statement) or _missing_lines(stdout, statement)
        case CodeTest() | ProbeTest():
            return None
        case AssertTest(source=source):
            return None if _OURS.search(source) else _missing_constants(source, statement)


def _missing(expected: str, statement: str) -> str | None:
    value = ast.literal_eval(expected)
    if expected in statement or isinstance(value, bool | None):
        return None
    return _missing_constants(expected, statement)


def _missing_constants(source: str, statement: str) -> str | None:
    """A constant of the source whose value no token of the statement has."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = ast.parse(source)
    spaceless = re.sub(r"\s", "", statement)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and not isinstance(node.value, bool | None):
            written = ast.get_source_segment(source, node) or ""
            plain = node.value if isinstance(node.value, str) else written
            if re.sub(r"\s", "", written) not in spaceless and re.sub(r"\s", "", str(plain)) not in spaceless:
                return written
    return None


def _missing_lines(text: str, statement: str) -> str | None:
    lines = {line.strip() for line in re.split(r"[\n]", statement)}
    joined = "\n".join(lines)
    return next((line for line in text.split("\n") if line.strip() not in lines and line.strip() not in joined), None)
