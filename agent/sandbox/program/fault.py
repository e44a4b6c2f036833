"""What an exception inside a program tells: class, message, place. Built beside the program, under its limits.

Standard library only: this module runs inside the jail.
"""

from __future__ import annotations

import builtins
from collections.abc import Collection
from itertools import islice
from traceback import clear_frames
from types import TracebackType

from agent.sandbox.program import trace, variables
from agent.sandbox.program.statements import Statements
from agent.sandbox.wire.codec import Json

MAX_MESSAGE = 1000
OUT_OF_MEMORY = (MemoryError, SystemError)
"""What is raised without memory: an interpreter that cannot even make the first raises the second, without a place."""
_MAX_FRAMES = 8


def describe(
    error: BaseException, statements: Statements | None, source: str, hidden: Collection[str] = ()
) -> dict[str, Json]:
    """The fault record for `error`: type, bases (its class and the ones above, nearest first), message, line, span,
    traceback (frames of the program only), variables of the innermost of these frames but for the `hidden` ones."""
    fault: dict[str, Json] = {
        "type": variables.class_name(type(error)),
        "bases": [variables.class_name(kind) for kind in type(error).__mro__ if kind is not object],
        "message": message_of(error),
        "memory": isinstance(error, MemoryError),
        "exit": isinstance(error, SystemExit),
        "line": None,
        "span": None,
        "traceback": "",
        "variables": [],
    }
    if fault["memory"]:
        clear_frames(error.__traceback__)
    if isinstance(error, SyntaxError) and error.filename == trace.PROGRAM:
        _place_of_syntax_error(fault, error, source)
        return fault
    frames = _program_frames(error.__traceback__)
    if not frames and isinstance(error, SystemError):
        fault["memory"] = True
    if frames:
        last_frame, last_line = frames[-1]
        fault["line"] = last_line
        position = next(islice(last_frame.tb_frame.f_code.co_positions(), last_frame.tb_lasti // 2, None), None)
        if statements is not None and position is not None and position[0] is not None:
            fault["span"] = statements.span(position[0], position[2] or 0)
        lines = source.splitlines()
        fault["traceback"] = _format(frames, lines, fault["type"], fault["message"])
        statement = "\n".join(lines[fault["span"][0] - 1 : fault["span"][2]]) if fault["span"] else ""
        fault["variables"] = variables.shown(last_frame.tb_frame.f_locals, statement, hidden)
    return fault


def message_of(error: BaseException) -> str:
    """Text of `error`, capped; a text that cannot be made is named instead."""
    try:
        text = str(error)
    except Exception as second:
        return f"<the message raised {type(second).__name__}>"
    return text if len(text) <= MAX_MESSAGE else text[:MAX_MESSAGE] + "..."


def builtin_base(bases: list[str]) -> type[BaseException]:
    """The first name in `bases` that is a built-in exception."""
    for name in bases:
        kind = getattr(builtins, name, None)
        if isinstance(kind, type) and issubclass(kind, BaseException):
            return kind
    return Exception


def _place_of_syntax_error(fault: dict[str, Json], error: SyntaxError, source: str) -> None:
    fault["message"] = str(error.msg)[:MAX_MESSAGE]
    fault["line"] = error.lineno
    if error.lineno is None:
        return
    start = max((error.offset or 1) - 1, 0)
    last = error.end_lineno or error.lineno
    end = (error.end_offset or 0) - 1
    if (last, end) <= (error.lineno, start):
        last, end = error.lineno, start + 1
    fault["span"] = (error.lineno, start, last, end)
    lines = source.splitlines()
    text = (error.text or (lines[error.lineno - 1] if 0 < error.lineno <= len(lines) else ""))[:500]
    fault["traceback"] = (
        f'  File "{trace.PROGRAM}", line {error.lineno}\n    {text.strip()}\n{fault["type"]}: {fault["message"]}'
    )


def _program_frames(traceback: TracebackType | None) -> list[tuple[TracebackType, int]]:
    frames: list[tuple[TracebackType, int]] = []
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == trace.PROGRAM:
            frames.append((traceback, traceback.tb_lineno))
        traceback = traceback.tb_next
    return frames


def _format(frames: list[tuple[TracebackType, int]], lines: list[str], kind: str, message: str) -> str:
    out = ["Traceback (most recent call last):"]
    for index, (traceback, line) in enumerate(frames):
        if len(frames) > _MAX_FRAMES and 2 <= index < len(frames) - (_MAX_FRAMES - 2):
            if index == 2:
                out.append(f"  [{len(frames) - _MAX_FRAMES} more frames]")
            continue
        out.append(f'  File "{trace.PROGRAM}", line {line}, in {traceback.tb_frame.f_code.co_name[:200]}')
        if 0 < line <= len(lines):
            out.append(f"    {lines[line - 1].strip()[:200]}")
    out.append(f"{kind}: {message}" if message else kind)
    return "\n".join(out)
