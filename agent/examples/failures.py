"""Reports of failures in a prompt: tracebacks, and what doctest and pytest print about a failing test."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from agent.examples.asserts import is_check
from agent.examples.values import MAX_EXAMPLE, literal
from memory.records import CallTest
from memory.syntax import expression

_TRACEBACK = re.compile(r"^[ \t>]*Traceback \(most recent call last\):[ \t]*$", re.MULTILINE)
_ENDING = re.compile(r"^[ \t>]*(?P<type>(?:[A-Za-z_]\w*\.)*[A-Z]\w*)(?:: (?P<message>[^\n]*))?[ \t]*$")
_PYTEST = re.compile(r"^E[ \t]{3,}(?P<type>(?:[A-Za-z_]\w*\.)*[A-Z]\w*)(?:: (?P<message>[^\n]*))?$", re.MULTILINE)
_DOCTEST = re.compile(
    r"^Failed example:\n(?P<source>(?:[ \t]++[^\n]++\n){1,20}?)Expected:\n(?P<want>(?:[ \t]++[^\n]++\n){1,20}?)Got:",
    re.MULTILINE,
)
_MAX_FRAMES = 200


@dataclass(frozen=True, slots=True)
class Failure:
    """What a traceback in the prompt ends with."""

    type: str
    message: str


def failure(text: str) -> Failure | None:
    """The failure that the text reports, the last one if there are several."""
    starts = [match.end() for match in _TRACEBACK.finditer(text)]
    if starts:
        for line in text[starts[-1] : starts[-1] + 20_000].split("\n")[1 : _MAX_FRAMES * 2]:
            ending = _ENDING.match(line)
            if ending is not None:
                return Failure(ending["type"], ending["message"] or "")
    reports = list(_PYTEST.finditer(text))
    return Failure(reports[-1]["type"], reports[-1]["message"] or "") if reports else None


def reported(text: str) -> Iterator[CallTest]:
    """The examples that doctest reports as failed, with the value it expected."""
    for match in _DOCTEST.finditer(text):
        source, want = match["source"].strip(), literal(match["want"].strip())
        node = expression(source) if len(source) <= MAX_EXAMPLE else None
        if want is not None and node is not None and is_check(node):
            yield CallTest(call=source, expected=want)
