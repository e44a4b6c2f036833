"""What a C++ compiler says about a program."""

from __future__ import annotations

import re
from dataclasses import dataclass

from memory.records import Fault, Span

_ERROR = re.compile(r"^(?P<file>[^\s:]+):(?P<line>\d+):(?P<column>\d+): (?:fatal )?error: (?P<message>.*)$")
_LINKER = re.compile(r"(undefined reference to .*|multiple definition of .*)$", re.MULTILINE)
_MARKS = re.compile(r"^\s*\| ( *)([~^]*\^[~^]*)")
_NEEDED = re.compile(r"^(?P<file>[^\s:]+):(?P<line>\d+):(?P<column>\d+):\s+required (?:from|by)")
_TEXT = 4000


@dataclass(frozen=True, slots=True)
class Complaint:
    """One error."""

    file: str
    message: str
    line: int
    span: Span


def read(stderr: str) -> list[Complaint]:
    """The errors, in the compiler's order. One in a header is told at the place in the program that needed it."""
    found: list[Complaint] = []
    needed: tuple[str, int, int] | None = None
    lines = stderr.splitlines()
    for number, text in enumerate(lines):
        if places := _NEEDED.match(text):
            needed = (places["file"], int(places["line"]), int(places["column"]))
            continue
        error = _ERROR.match(text)
        if error is None:
            continue
        file, line, column = error["file"], int(error["line"]), int(error["column"])
        width = 1
        if file.startswith("/") and needed is not None:
            file, line, column = needed
        else:
            marks = _MARKS.match(lines[number + 2]) if number + 2 < len(lines) else None
            if marks:
                column, width = len(marks[1]) + 1, len(marks[2])
        found.append(Complaint(file, error["message"], line, (line, column - 1, line, column - 1 + width)))
        needed = None
    return found


def fault(complaint: Complaint | None, stderr: str) -> Fault:
    """The record of a program that does not compile; without a complaint the linker, or nobody, said why."""
    text = stderr.strip()[:_TEXT]
    if complaint is not None:
        return Fault(
            type="CompileError", message=complaint.message, line=complaint.line, span=complaint.span, traceback=text
        )
    linked = _LINKER.search(stderr)
    message = linked[1] if linked else (text.splitlines() or ["the compiler gave up on this program"])[-1]
    return Fault(type="LinkError" if linked else "CompileError", message=message[:1000], traceback=text)
