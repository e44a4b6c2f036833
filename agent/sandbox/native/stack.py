"""What node says about an exception: in a stack, or in the last words of its process."""

from __future__ import annotations

import re
from dataclasses import dataclass

from memory.records import Fault, Span

_FRAME = re.compile(r"(?:file://)?/tmp/program\.m?js:(\d+)(?::(\d+))?\)?$")
_HEADER = re.compile(r"^(?:file://)?/tmp/program\.m?js:(\d+)$", re.MULTILINE)
_PLACE = re.compile(r"^\S+:\d+$", re.MULTILINE)
_HINT = "\n(Use `node --trace-uncaught ...` to show where the exception was thrown)"
_UNCAUGHT = re.compile(r"\n\nNode\.js v[\d.]+[^\n]*\s*\Z")
_NAMED = re.compile(r"(?:Uncaught )?([\w$.]+)(?: \[\w+\])?(?:: (.*))?\Z", re.DOTALL)
_PATH = re.compile(r"(?:file://)?/tmp/(program\.m?js)")
_NO_MEMORY = re.compile(
    r"^(?:#\s*)?(?:FATAL ERROR|Fatal error|Fatal process|<--- Last few GCs).*(?:out of memory|OOM|GCs)"
    r"|^#\s*Fatal (?:process|JavaScript) out of memory|Allocation failed - JavaScript heap out of memory",
    re.IGNORECASE | re.MULTILINE,
)
_REFUSED_MEMORY = re.compile(r"Array buffer allocation failed|ERR_MEMORY_ALLOCATION_FAILED|Failed to allocate memory")
_SHOWN_FRAMES = 20


@dataclass(frozen=True, slots=True)
class Thrown:
    """An exception, and whether it arose before the program ran or for want of memory."""

    fault: Fault
    compiling: bool
    memory: bool


def read(kind: str, message: str, stack: str, *, before: int, lines: int) -> Thrown:
    """One that a harness described. The program has `lines` lines, after `before` others."""
    excerpt, _, rest = stack.partition("\n\n") if _HEADER.match(stack) else ("", "", stack)
    frames = [line.strip() for line in rest.splitlines() if line.startswith("    at ")]
    return _made(kind, message, excerpt, frames, before, lines)


def last_words(stderr: str, *, before: int, lines: int) -> Thrown | None:
    """The uncaught exception that ended a process, if one did."""
    trailer = _UNCAUGHT.search(stderr)
    if trailer is None:
        return None
    told = stderr[: trailer.start()]
    starts = [match.start() for match in _PLACE.finditer(told)]
    excerpt, _, rest = told[starts[-1] if starts else 0 :].partition("\n\n")
    if not rest:
        excerpt, _, rest = excerpt.removesuffix(_HINT).rpartition("\n")
    head, *tail = re.split(r"^(?=    at )", rest, maxsplit=1, flags=re.MULTILINE)
    frames = [line.strip() for part in tail for line in part.splitlines() if line.startswith("    at ")]
    named = _NAMED.match(head.strip())
    if named is None or not (frames or named[1].endswith("Error")):
        return _made("Error", f"thrown: {head.strip()}", excerpt, frames, before, lines)
    return _made(named[1], named[2] or "", excerpt, frames, before, lines)


def out_of_memory(stderr: str) -> bool:
    """Whether node gave up because its heap was full."""
    return _NO_MEMORY.search(stderr) is not None


def _made(kind: str, message: str, excerpt: str, frames: list[str], before: int, lines: int) -> Thrown:
    own: list[tuple[str, int, int | None]] = []
    for frame in frames:
        found = _FRAME.search(frame)
        if found and before < int(found.group(1)) <= before + lines:
            column = found.group(2)
            own.append((frame, int(found.group(1)) - before, int(column) - 1 if column else None))
    line: int | None = None
    span: Span | None = None
    header = _HEADER.match(excerpt)
    if header and before < int(header.group(1)) <= before + lines:
        line = int(header.group(1)) - before
        span = _marked(excerpt, line)
    if own and (line is None or own[0][1] != line or span is None):
        _, line, column = own[0]
        span = (line, column, line, column + 1) if column is not None else None
    traceback = "\n".join(_placed(frame, number) for frame, number, _ in own[:_SHOWN_FRAMES])
    if header:
        source = "\n".join(excerpt.splitlines()[1:])
        traceback = f"{source}\n{traceback}" if traceback else source
    if kind.startswith("SyntaxError") and line is not None and not own:
        message = f"{message} (line {line})"
    fault = Fault(type=kind, message=message[:1000], line=line, span=span, traceback=traceback[:8000])
    return Thrown(
        fault=fault,
        compiling=kind == "SyntaxError" and not own,
        memory=_REFUSED_MEMORY.search(f"{kind} {message}") is not None,
    )


def _placed(frame: str, line: int) -> str:
    shown = _PATH.sub(r"\1", frame)
    return re.sub(r"(program\.m?js):\d+", rf"\g<1>:{line}", shown)


def _marked(excerpt: str, line: int) -> Span | None:
    """The columns that node marked below the line."""
    for marks in excerpt.splitlines()[2:3]:
        found = re.search(r"\^+", marks)
        if found:
            return (line, found.start(), line, found.end())
    return None
