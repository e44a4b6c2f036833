"""What a program's process says of itself, read as untrusted: whatever it sends, the result is of the type that is
promised, and no larger than promised."""

from __future__ import annotations

import re

from agent.sandbox.program import trace
from agent.sandbox.program.trace import MAX_STATEMENTS
from agent.sandbox.program.variables import MAX_TEXT, MAX_VARIABLES
from agent.sandbox.wire.codec import Json, Malformed
from memory.records import Fault, Outcome, Span

_MESSAGE = 1000
_TRACEBACK = 8000
_MOST_NAMES = 10_000
_NAME_CHARACTERS = 500_000
"""Of all names together."""
_PARTS = {"own": 2, "function": 3, "import": 4}
"""Words that tell of a name, by its kind."""
_NUMBER = re.compile(r"[0-9]{1,9}")
_LINE = re.compile(rb'File "' + re.escape(trace.PROGRAM.encode()) + rb'", line (\d{1,9})\b')


def of_fault(fault: Json, *, compiling: bool = False) -> tuple[Outcome, Fault]:
    """Outcome and record of an exception that the process described."""
    record = fault if type(fault) is dict else {}
    line, span = record.get("line"), _span(record.get("span"))
    made = Fault(
        type=text(record.get("type"), 200) or "Exception",
        message=text(record.get("message"), _MESSAGE),
        line=line if type(line) is int and 0 < line < 1 << 31 else None,
        span=span,
        traceback=text(record.get("traceback"), _TRACEBACK),
        variables=_variables(record.get("variables")),
    )
    if compiling:
        return Outcome.COMPILE_ERROR, made
    return (Outcome.MEMORY_LIMIT if record.get("memory") is True else Outcome.RUNTIME_ERROR), made


def spans(wire: Json, source: str) -> tuple[Span, ...]:
    """Places of the program's statements; none if any of them is not a place in `source`."""
    if type(wire) is not list or not 0 < len(wire) <= MAX_STATEMENTS:
        return ()
    lengths = [len(line) for line in source.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    found: list[Span] = []
    for item in wire:
        span = _span(item)
        if span is None:
            return ()
        line, column, last, end = span
        if not 1 <= line <= last <= len(lengths) or column > lengths[line - 1] or end > lengths[last - 1]:
            return ()
        if line == last and column > end:
            return ()
        found.append(span)
    return tuple(found)


def names(wire: Json) -> list[list[str]]:
    """What tests may use by name, as `candidate` reports it. Raises Malformed."""
    if type(wire) is not list or len(wire) > _MOST_NAMES:
        raise Malformed("not a list of names")
    characters = 0
    for entry in wire:
        if type(entry) is not list or any(type(part) is not str for part in entry):
            raise Malformed("a name is not told in words")
        if _PARTS.get(entry[1] if len(entry) > 1 else "") != len(entry):
            raise Malformed("a name is neither the program's own nor imported")
        if entry[1] == "function" and not _NUMBER.fullmatch(entry[2]):
            raise Malformed("a function without its number")
        characters += sum(map(len, entry))
    if characters > _NAME_CHARACTERS:
        raise Malformed(f"names of {characters} characters")
    return wire


def last_line(words: bytes) -> int | None:
    """Line of the program in the stack of a process that hangs."""
    found = _LINE.search(words)
    return int(found.group(1)) if found else None


def text(value: Json, limit: int) -> str:
    """At most `limit` characters of a text that can be written; what is no text is an empty one."""
    if type(value) is not str:
        return ""
    return value[:limit].encode("utf-8", "backslashreplace").decode("utf-8")


def _variables(wire: Json) -> tuple[tuple[str, str], ...]:
    pairs = wire[:MAX_VARIABLES] if type(wire) is list else []
    return tuple(
        (text(pair[0], MAX_TEXT), text(pair[1], MAX_TEXT)) for pair in pairs if type(pair) is list and len(pair) == 2
    )


def _span(wire: Json) -> Span | None:
    if type(wire) is list and len(wire) == 4 and all(type(part) is int and 0 <= part < 1 << 31 for part in wire):
        return (wire[0], wire[1], wire[2], wire[3])
    return None
