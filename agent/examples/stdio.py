"""Samples of standard input and standard output, as contest sites print them."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

from agent.examples.labels import pairs
from memory.records import StdioTest

_FENCE = re.compile(r"\s*^[ \t]*(?:```|~~~)[^\n]*\n(.*?)^[ \t]*(?:```|~~~)[ \t]*$", re.MULTILINE | re.DOTALL)
_WORD = re.compile(r"[^\W\d_]{2,}")
_NAMED_VALUE = re.compile(r"^\s*[A-Za-z_]\w*\s*=\s*\S", re.MULTILINE)
_PROGRAM = re.compile(
    r"\b(?:std(?:in|out)|standard (?:input|output)|read(?:s|ing)?\b.{0,60}\binput|print(?:s|ed)?|program)\b",
    re.IGNORECASE,
)
_NOT_DATA = ('"""', "'''", "\0")
"""Ends of a docstring, and what is no text: how far the sample goes cannot be told."""
_MANY_WORDS = 4
"""A line with so many words is a sentence, unless the sample consists of such lines."""


def stdio_samples(text: str) -> Iterator[StdioTest]:
    """One test per input with its output. After the first heading `Example` or `Sample` only what follows it counts:
    what stands before describes the format."""
    found = list(pairs(text))
    has_examples = any(among_examples for _, _, among_examples in found)
    speaks_of_program = _PROGRAM.search(text) is not None
    for given, result, among_examples in found:
        if has_examples and not among_examples:
            continue
        if not (given.is_line and result.is_line) and not speaks_of_program:
            continue
        stdin, stdout = _input(given.body), _output(result.body)
        if stdin is None or stdout is None or (not has_examples and (_is_wordy(stdin) or _is_wordy(stdout))):
            continue
        if _NAMED_VALUE.search(stdin) or any(mark in stdin + stdout for mark in _NOT_DATA):
            continue
        yield StdioTest(stdin=stdin, stdout=stdout)


def _input(body: str) -> str | None:
    """All of the body, blank lines included; None if a sentence stands under the data."""
    fenced = _FENCE.match(body)
    text = fenced[1] if fenced else body
    paragraphs = _paragraphs(text)
    if not paragraphs or ("```" in text):
        return None
    if not fenced and not _is_wordy(paragraphs[0]) and any(_is_wordy(each) for each in paragraphs[1:]):
        return None
    return _clean(text)


def _output(body: str) -> str | None:
    """What is surely the output. A fence tells where it ends. Without one a paragraph of sentences under it is not part
    of it; if that cannot be told, None."""
    fenced = _FENCE.match(body)
    if fenced:
        return _clean(fenced[1]) if fenced[1].strip() else None
    paragraphs = _paragraphs(body)
    if not paragraphs or "```" in body:
        return None
    lines = paragraphs[0].split("\n")
    if not _is_wordy(lines[0]) and any(_is_wordy(line) for line in lines[1:]):
        return None
    kept = [paragraphs[0]]
    for paragraph in paragraphs[1:]:
        if _is_wordy(paragraph):
            if any(_is_wordy(each) for each in kept):
                return None
            return _clean("\n\n".join(kept))
        words = _WORD.search(paragraph)
        if words is not None and paragraph.split()[0] not in {
            line.split()[0] for each in kept for line in each.split("\n")
        }:
            return None
        kept.append(paragraph)
    return _clean(body)


def _paragraphs(text: str) -> list[str]:
    return [part.strip("\n") for part in re.split(r"\n(?:[ \t]*\n)+", text.strip()) if part.strip()]


def _is_wordy(text: str) -> bool:
    return any(len(_WORD.findall(line)) >= _MANY_WORDS for line in text.split("\n"))


def _clean(text: str) -> str:
    """Without blank lines around it and without the indentation that all its lines share; one line break at the end."""
    lines = [line.rstrip() for line in text.split("\n")]
    while lines and not lines[0]:
        lines.pop(0)
    while lines and not lines[-1]:
        lines.pop()
    return textwrap.dedent("\n".join(lines)) + "\n"
