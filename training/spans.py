"""Which part of a program an error is blamed on, which part of it ran, and which tokens that is.

Blame (RLTF, arXiv 2307.04349, section 3.3): the paper's code matches the texts of messages and searches the program
for them. Here classes of exceptions, stages and positions decide, so that the same program is treated alike by every
version of Python. The rows, of which the first that matches wins:

 1  the answer was cut off and does not compile                              the whole program
 2  the end is missing: an open bracket or quote, a header without a body    the whole program
 3  TabError                                                                 nothing
 4  IndentationError                                                         its lines, leading blanks included
 5  SyntaxError of the parser on the last line of code                       the whole program
 6  other SyntaxError of the parser                                          its lines
 7  SyntaxError of what parses (a misplaced `return`, a clash of scopes)     its lines
 8  no position: ValueError, MemoryError, RecursionError, UnicodeError       the whole program
 9  no program in the answer, or not what was to be defined                  the whole answer
10  time, memory, output or recursion without end                            the whole program
11  RuntimeError itself, a signal, an exit without traceback                 nothing
12  any other exception                                                      the statement of the innermost frame
13  passed; a wrong result                                                   nothing

Executed code (StepCoder, arXiv 2402.01391, section 3.2): the statements that ran in some test, over all of them.
Comments, blank lines, docstrings and lines of keywords are no statements that run: they go with the next statement of
their block, else with the one before. Where nothing ran, everything counts.

Pure functions; the source is parsed, never executed.
"""

from __future__ import annotations

import ast
import codeop
import re
import warnings
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from memory.records import Candidate, Fault, Outcome, Span, Verdict
from memory.syntax import is_text, parse
from training.tokens import CharSpan

MAX_SOURCE = 200_000
"""Characters; a longer program is not parsed, and is blamed and executed as a whole."""

Blame = Literal["whole", "answer", "ignore"] | tuple[CharSpan, ...]
"""The whole program, the whole answer, nothing because the kind of error says nothing, or some characters of the
program (none where nothing is to blame)."""

_ENDLESS = frozenset({Outcome.TIMEOUT, Outcome.MEMORY_LIMIT, Outcome.OUTPUT_LIMIT})
_NEWLINE = re.compile(r"\r\n|\r|\n")
_UNREADABLE = (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Masks:
    """Of each token of an answer, as in `TokenSample`."""

    program: tuple[bool, ...]
    blamed: tuple[bool, ...]
    executed: tuple[bool, ...]


def masks(candidate: Candidate, verdict: Verdict, spans: Sequence[CharSpan], entry_point: str | None = None) -> Masks:
    """The three masks of an answer whose tokens have the characters `spans` of its text.

    A token is blamed, or of the program, if it shares a character with what is; executed if the statement ran whose
    character it has first, blanks apart.
    """
    code, start = candidate.code, candidate.code_start
    program = tuple(first < last and first < start + len(code) and start < last for first, last in spans)
    blamed = blame(code, verdict, candidate.finish_reason, entry_point)
    idle = unexecuted(code, verdict.executed)
    return Masks(
        program=program,
        blamed=_blamed(blamed, spans, start, program),
        executed=tuple(
            not (inside and _within(idle, _place(candidate.text, span, start, len(code)) - start))
            for inside, span in zip(program, spans, strict=True)
        ),
    )


def blame(code: str, verdict: Verdict, finish_reason: str = "stop", entry_point: str | None = None) -> Blame:
    """What the verdict's error is blamed on, in characters of `code`; the table above says by what rule."""
    fault = verdict.error
    match verdict.outcome:
        case Outcome.PASSED | Outcome.FAILED_TEST | Outcome.SANDBOX_ERROR:
            return ()
        case Outcome.COMPILE_ERROR:
            return _of_compiling(code, fault, finish_reason)
        case outcome if outcome in _ENDLESS:
            return "whole"
    if fault is None:
        return "ignore"
    if _is_missing(code, fault, entry_point):
        return "answer"
    if fault.type == "RecursionError":
        return "whole"
    if fault.type == "RuntimeError" or not fault.traceback or fault.line is None:
        return "ignore"
    return _of_running(code, fault.line, fault.span)


def unexecuted(code: str, executed: Sequence[Span]) -> tuple[CharSpan, ...]:
    """The characters of `code` whose statements did not run, in order; none where nothing ran or nothing is known."""
    if not executed or len(code) > MAX_SOURCE:
        return ()
    tree = parse(code)
    if tree is None or not tree.body:
        return ()
    source = _Source(code)
    ran = {source.offset(line, column) for line, column, _, _ in executed}
    marks = _Marks(source, ran)
    try:
        marks.read(tree)
    except RecursionError:
        return ()
    return marks.idle()


def _of_compiling(code: str, fault: Fault | None, finish_reason: str) -> Blame:
    """Rows 1 to 9."""
    if fault is None or not code.strip():
        return "answer"
    if finish_reason == "length" or len(code) > MAX_SOURCE or _is_incomplete(code):
        return "whole"
    if fault.type == "TabError":
        return "ignore"
    if fault.line is None:
        return "whole"
    source = _Source(code)
    last = fault.line if fault.span is None else max(fault.line, fault.span[2])
    if fault.type == "IndentationError":
        return source.lines(fault.line, last, blanks=True)
    if fault.line >= source.last_code_line() and parse(code) is None:
        return "whole"
    return source.lines(fault.line, last, blanks=False)


def _of_running(code: str, line: int, span: Span | None) -> Blame:
    """Row 12."""
    source = _Source(code)
    if span is None:
        return source.lines(line, line, blanks=False)
    first, column, last, end = span
    return source.between(source.offset(first, column), source.offset(last, end))


def _is_incomplete(code: str) -> bool:
    """Whether more text could make it a program."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return codeop.compile_command(code, symbol="exec") is None
    except _UNREADABLE:
        return False


def _is_missing(code: str, fault: Fault, entry_point: str | None) -> bool:
    """Whether the tests did not find what they call: an exception outside the program, which does not define it."""
    if entry_point is None or fault.type != "NameError" or fault.line is not None or len(code) > MAX_SOURCE:
        return False
    tree = parse(code)
    return tree is not None and not {re.split(r"[.(]", entry_point)[0], "*"} & _defined(tree)


def _defined(tree: ast.Module) -> set[str]:
    """Names that a module binds at its top level, within `if` and `try` too."""
    found: set[str] = set()
    waiting: list[ast.AST] = [*tree.body]
    while waiting:
        node = waiting.pop()
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                found.add(node.name)
            case ast.Import() | ast.ImportFrom():
                found |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
            case ast.Name(ctx=ast.Store()):
                found.add(node.id)
            case ast.Lambda():
                pass
            case _:
                waiting += ast.iter_child_nodes(node)
    return found


class _Source:
    """A program by lines, as Python counts them: from 1, columns in characters."""

    def __init__(self, code: str) -> None:
        self.code = code
        breaks = list(_NEWLINE.finditer(code))
        self._starts = [0, *(found.end() for found in breaks)]
        self._ends = [*(found.start() for found in breaks), len(code)]

    def __len__(self) -> int:
        return len(self._starts)

    def start(self, line: int) -> int:
        """Where a line begins; of a line after the last, the end."""
        return self._starts[line - 1] if line <= len(self) else len(self.code)

    def end(self, line: int) -> int:
        """Where a line ends, its newline not counted."""
        return self._ends[line - 1] if line <= len(self) else len(self.code)

    def text(self, line: int) -> str:
        return self.code[self.start(line) : self.end(line)]

    def offset(self, line: int, column: int) -> int:
        """Place of a column; at most the end of its line."""
        return min(self.start(line) + column, self.end(line))

    def bytes_offset(self, line: int, column: int) -> int:
        """Place of a column that is counted in UTF-8 bytes, as the syntax tree counts."""
        text = self.text(line)
        if text.isascii():
            return self.offset(line, column)
        encoded = text.encode("utf-8", "surrogatepass")[:column]
        return self.offset(line, len(encoded.decode("utf-8", "surrogatepass")))

    def line_of(self, offset: int) -> int:
        """The line of a place."""
        return bisect_right(self._starts, offset)

    def indent(self, line: int) -> int:
        """Place of a line's first character that is no blank."""
        text = self.text(line)
        return self.start(line) + len(text) - len(text.lstrip(" \t\f"))

    def last_code_line(self) -> int:
        """The last line that is more than blanks and a comment; 0 if there is none."""
        wanted = (line for line in range(len(self), 0, -1) if (bare := self.text(line).strip()) and bare[0] != "#")
        return next(wanted, 0)

    def lines(self, first: int, last: int, *, blanks: bool) -> tuple[CharSpan, ...]:
        """The characters of whole lines, each one's leading blanks with or without; newlines are never among them."""
        last = min(last, len(self))
        places = (
            (self.start(line) if blanks else self.indent(line), self.end(line)) for line in range(first, last + 1)
        )
        return tuple((start, end) for start, end in places if start < end)

    def between(self, start: int, end: int) -> tuple[CharSpan, ...]:
        """The characters between two places, leading blanks of lines and newlines left out."""
        spans = []
        for line in range(self.line_of(start), self.line_of(end) + 1):
            first, last = max(start, self.indent(line)), min(end, self.end(line))
            if first < last:
                spans.append((first, last))
        return tuple(spans)


class _Marks:
    """From which place on a program ran or did not; places are added in the order of the source."""

    def __init__(self, source: _Source, ran: set[int]) -> None:
        self._source = source
        self._ran = ran
        self._pieces: list[tuple[int, int, int, bool]] = []
        """Of each statement (of a compound one its header): place, end, column, whether it ran."""

    def read(self, tree: ast.Module) -> None:
        """Take in the statements of a program."""
        self._block(tree.body, None)

    def idle(self) -> tuple[CharSpan, ...]:
        """What did not run."""
        found: list[CharSpan] = []
        marks = sorted(self._marks())
        for (place, ran), (following, _) in zip(marks, [*marks[1:], (len(self._source.code), True)], strict=True):
            if ran or place == following:
                continue
            if found and found[-1][1] == place:
                place = found.pop()[0]
            found.append((place, following))
        return tuple(found)

    def _block(self, body: Sequence[ast.stmt], owner: bool | None) -> None:
        """`owner`: whether the statement ran that the block belongs to, for a block of which nothing is known."""
        known = [self._known(stmt) for stmt in body]
        for position, stmt in enumerate(body):
            later = (flag for flag in known[position:] if flag is not None)
            earlier = (flag for flag in reversed(known[:position]) if flag is not None)
            ran = next(later, next(earlier, bool(owner)))
            start = self._start(stmt)
            self._pieces.append((start, self._end(stmt), self._column(start), ran))
            for block in _blocks(stmt):
                self._block(block, ran)

    def _known(self, stmt: ast.stmt) -> bool | None:
        """Whether a statement ran; None for one that leaves no trace."""
        if self._source.bytes_offset(stmt.lineno, stmt.col_offset) in self._ran:
            return True
        if isinstance(stmt, ast.Try | ast.TryStar):
            return self._known(stmt.body[0])
        silent = isinstance(stmt, ast.Global | ast.Nonlocal) or is_text(stmt)
        future = isinstance(stmt, ast.ImportFrom) and stmt.module == "__future__"
        return None if silent or future else False

    def _start(self, stmt: ast.stmt) -> int:
        """Of a definition with decorators, where the line of the first begins."""
        decorators = getattr(stmt, "decorator_list", None)
        if decorators:
            return self._source.indent(decorators[0].lineno)
        return self._source.bytes_offset(stmt.lineno, stmt.col_offset)

    def _end(self, stmt: ast.stmt) -> int:
        """Of a compound statement, where its header ends: comments before its first block are that block's."""
        source = self._source
        if isinstance(stmt, ast.Match):
            return source.end(stmt.subject.end_lineno or stmt.lineno)
        block = next(_blocks(stmt), None)
        if block is None:
            return source.bytes_offset(stmt.end_lineno or stmt.lineno, stmt.end_col_offset or 0)
        first = self._start(block[0])
        line = source.line_of(first)
        if source.indent(line) < first:
            return first
        while line > stmt.lineno:
            line -= 1
            if (bare := source.text(line).strip()) and not bare.startswith("#"):
                break
        return source.end(line)

    def _column(self, place: int) -> int:
        return place - self._source.start(self._source.line_of(place))

    def _marks(self) -> Iterator[tuple[int, bool]]:
        """The places where something else begins, and whether that ran; the indent of a line belongs to its first
        statement."""
        source = self._source
        held: set[int] = set()
        """Lines that begin within a statement or with one."""
        for start, end, _, ran in self._pieces:
            first = source.line_of(start)
            own = source.indent(first) == start
            yield (source.start(first) if own else start), ran
            held.update(range(first + (not own), source.line_of(max(start, end - 1)) + 1))
        for line in range(1, len(source) + 1):
            if line not in held:
                yield source.start(line), self._inherited(line)

    def _inherited(self, line: int) -> bool:
        """Of a line without a statement: as the next statement of its block, else as the one before."""
        source = self._source
        after = bisect_right(self._pieces, (source.end(line), 0, 0, True))
        within = bisect_right(self._pieces, (source.start(line), 0, 0, True))
        bare = source.text(line).strip()
        column = source.indent(line) - source.start(line)
        is_comment = bare.startswith("#")
        if within < after:  # a keyword with its statement on the same line
            return self._pieces[within][3]
        if after < len(self._pieces) and (not is_comment or self._pieces[after][2] >= column):
            return self._pieces[after][3]
        before = (piece for piece in reversed(self._pieces[:after]) if not is_comment or piece[2] <= column)
        return next(before, self._pieces[0])[3]


def _blocks(stmt: ast.stmt) -> Iterator[list[ast.stmt]]:
    """The blocks of a compound statement, in the order of the source."""
    if body := getattr(stmt, "body", None):
        yield body
    for part in (*getattr(stmt, "handlers", ()), *getattr(stmt, "cases", ())):
        yield part.body
    for name in ("orelse", "finalbody"):
        if block := getattr(stmt, name, None):
            yield block


def _blamed(blamed: Blame, spans: Sequence[CharSpan], start: int, program: tuple[bool, ...]) -> tuple[bool, ...]:
    match blamed:
        case "answer":
            return (True,) * len(spans)
        case "whole":
            return program
        case "ignore":
            return (False,) * len(spans)
        case _:
            return tuple(
                any(first < start + end and start + begin < last for begin, end in blamed) if first < last else False
                for first, last in spans
            )


def _place(text: str, span: CharSpan, start: int, length: int) -> int:
    """By which character a token of the program is judged: its first in the program that is no blank, else its last."""
    first, last = max(span[0], start), min(span[1], start + length)
    return next((place for place in range(first, last) if not text[place].isspace()), last - 1)


def _within(spans: Sequence[CharSpan], place: int) -> bool:
    index = bisect_right(spans, place, key=lambda span: span[0]) - 1
    return index >= 0 and place < spans[index][1]
