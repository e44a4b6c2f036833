"""What a program returned, and the case that makes: compared here, away from the program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agent.sandbox import compare, fingerprint
from agent.sandbox.plan import Literal, Stdio, Unit
from agent.sandbox.testimony import of_fault, text
from agent.sandbox.verdict import Case
from agent.sandbox.wire import codec, decoding
from agent.sandbox.wire.codec import Json
from agent.sandbox.wire.work import Work
from memory.records import CaseResult, Fault, Outcome

_TEXT = 500
_MORE = "..."
_LONGEST = 1e6
"""Seconds that no test can take."""
_COMPARE_ERRORS = (ArithmeticError, TypeError, ValueError, RecursionError, AttributeError)


@dataclass(frozen=True, slots=True)
class Opaque:
    """A result that is not plain data: equal to nothing."""

    type: str
    text: str
    truth: bool

    def __bool__(self) -> bool:
        return self.truth

    def __eq__(self, other: object) -> bool:
        return False

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return self.text or f"<{self.type}>"


def literal_case(literal: Literal, reply: dict[str, Json], seconds: float, lines: tuple[int, ...] = ()) -> Case:
    """The case that a program's reply to a call makes."""
    if "err" in reply:
        described: Any = reply["err"] if type(reply["err"]) is dict else {}
        if described.get("type") == "Unserialisable" and "bases" not in described:
            fault = Fault(type=Outcome.FAILED_TEST.value, message=text(described.get("message"), _TEXT))
            return make_case(literal.name, Outcome.FAILED_TEST, fault, literal.expected, seconds=seconds, lines=lines)
        outcome, fault = of_fault(described)
        return make_case(literal.name, outcome, fault, literal.expected, seconds=seconds, lines=lines)
    return _checked(literal, literal.name, reply["ok"], seconds, lines, assertion=literal.assertion)


def reported_case(unit: Unit, name: str, report: dict[str, Json], lines: tuple[int, ...] = ()) -> Case | None:
    """The case that a report of the judge makes; None for one that the tests left out."""
    told, outcome = report.get("seconds"), report.get("outcome")
    seconds = told if type(told) is float and 0 <= told < _LONGEST else 0.0
    if outcome == "passed":
        return make_case(name, Outcome.PASSED, None, seconds=seconds, lines=lines)
    if outcome == "skipped":
        return None
    if outcome == "value":
        return _checked(unit, name, report.get("value"), seconds, lines, assertion=False)
    if outcome == "runtime_error":
        ended, fault = of_fault(report.get("fault"))
        return make_case(name, ended, fault, seconds=seconds, lines=lines)
    message, expected, actual = (_told(report.get(key)) for key in ("message", "expected", "actual"))
    kind = _told(report.get("type")) or Outcome.FAILED_TEST.value
    fault = Fault(type=kind, message=message or difference(name, expected, actual))
    return make_case(name, Outcome.FAILED_TEST, fault, expected, actual, seconds=seconds, lines=lines)


def _told(wire: Json) -> str | None:
    return text(wire, _TEXT + len(_MORE)) if type(wire) is str else None


def _checked(
    test: Literal | Unit, name: str, wire: Json, seconds: float, lines: tuple[int, ...], *, assertion: bool
) -> Case:
    try:
        actual = decoding.decode(wire, _opaque, work=Work())
    except codec.Malformed as error:
        fault = Fault(type=Outcome.FAILED_TEST.value, message=cut(f"not plain data: {error}"))
        return make_case(name, Outcome.FAILED_TEST, fault, test.expected, seconds=seconds, lines=lines)
    if test.check is None:
        return noted_case(name, fingerprint.of_value(actual), seconds, lines)
    try:
        right = test.check(actual)
    except _COMPARE_ERRORS:
        right = False
    if right:
        return make_case(name, Outcome.PASSED, None, seconds=seconds, lines=lines)
    got = short(actual)
    kind = "AssertionError" if assertion else Outcome.FAILED_TEST.value
    fault = Fault(type=kind, message=difference(name, test.expected, got))
    return make_case(name, Outcome.FAILED_TEST, fault, test.expected, got, seconds=seconds, lines=lines)


def _opaque(wire: list[Json]) -> object:
    _, _, kind, shown, truth, base = wire
    if base is not None:
        return decoding.decode_scalar(base)
    return Opaque(text(kind, 200), text(shown, _TEXT), truth is True)


def short(value: object) -> str:
    """`repr` of plain data, capped."""
    try:
        return cut(repr(value))
    except (ValueError, RecursionError) as error:
        return cut(f"<{type(value).__name__}: {error}>")


def cut(whole: str) -> str:
    """At most 500 characters, all of which can be written."""
    return text(whole, _TEXT) + _MORE if len(whole) > _TEXT else text(whole, _TEXT)


def printed_case(stdio: Stdio, printed: str, seconds: float, lines: tuple[int, ...] = ()) -> Case:
    """The case that the output of a program makes which ended as it should."""
    name = stdio.name
    if stdio.stdout is None:
        return noted_case(name, fingerprint.of_text(printed), seconds, lines)
    if compare.same_text(printed, stdio.stdout):
        return make_case(name, Outcome.PASSED, None, seconds=seconds, lines=lines)
    fault = Fault(type=Outcome.FAILED_TEST.value, message=f"{name}: the output differs from the expected one")
    expected, actual = cut(stdio.stdout), cut(printed)
    return make_case(name, Outcome.FAILED_TEST, fault, expected, actual, seconds=seconds, lines=lines)


def noted_case(name: str, answer: str, seconds: float, lines: tuple[int, ...] = ()) -> Case:
    """The result of a probe, which nobody judges."""
    noted = CaseResult(
        name=name, outcome=Outcome.PASSED, actual=answer, seconds=round(seconds, 6), executed_lines=lines
    )
    return Case(noted, None)


def difference(name: str, expected: Json, actual: Json) -> str:
    """A failed comparison in words."""
    if actual is None:
        return name
    return f"{name}: got {actual}" if expected is None else f"{name}: expected {expected}, got {actual}"


def make_case(
    name: str,
    outcome: Outcome,
    fault: Fault | None,
    expected: Json = None,
    actual: Json = None,
    *,
    seconds: float = 0.0,
    lines: tuple[int, ...] = (),
) -> Case:
    """One result with what went wrong; values are shown for failures only."""
    passed = outcome is Outcome.PASSED
    return Case(
        CaseResult(
            name=name,
            outcome=outcome,
            expected=None if passed or expected is None else str(expected),
            actual=None if passed or actual is None else str(actual),
            message=fault.message if fault else None,
            seconds=round(seconds, 6),
            executed_lines=lines,
        ),
        fault,
    )
