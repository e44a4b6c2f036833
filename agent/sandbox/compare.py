"""Expected against actual, outside the process that computed the actual value (docs: algorithms, section 7.3).

Values compare by value: sets and dicts as such, floats with a tolerance, tuple = list only where the
expectation came from JSON. Text compares exactly after trailing blanks are removed, then token by token; in what is
drawn with characters blanks count. Nothing is order-insensitive.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

COMPARATOR_VERSION = 3
"""To be raised with every change of what equals what."""
RELATIVE = 1e-6
ABSOLUTE = 1e-9
"""Below this difference from 0, or from what was computed, floats are equal: where the exact result is 0, another order
of the same operations leaves another remainder."""
_WRITTEN = 12
"""Significant digits. A number with more of them was computed, any other is meant as it stands."""

_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,400}\.?[0-9]{0,400}|\.[0-9]{1,400})(?:[eE][+-]?[0-9]{1,4})?")


def same_value(actual: object, expected: object, *, from_json: bool = False) -> bool:
    """Whether plain `actual` equals plain `expected`."""
    if isinstance(expected, float) and isinstance(actual, float | int) and not isinstance(actual, bool):
        return _same_float(actual, expected)
    if isinstance(expected, list | tuple):
        sequences = (list, tuple) if from_json else (type(expected),)
        return (
            isinstance(actual, sequences)
            and len(actual) == len(expected)
            and all(same_value(left, right, from_json=from_json) for left, right in zip(actual, expected, strict=True))
        )
    if isinstance(expected, dict):
        return isinstance(actual, dict) and _same_mapping(actual, expected, from_json=from_json)
    return bool(actual == expected)


def same_text(actual: str, expected: str) -> bool:
    """Whether printed `actual` is the text `expected`."""
    actual, expected = (text.replace("\r\n", "\n").rstrip() for text in (actual, expected))
    if actual.count("\n") != expected.count("\n"):
        return False
    lines = zip(actual.split("\n"), expected.split("\n"), strict=True)
    pairs = [(one.rstrip(), other.rstrip()) for one, other in lines]
    differing = [pair for pair in pairs if pair[0] != pair[1]]
    return not differing or (all(_same_line(*pair) for pair in differing) and _same_drawing(pairs))


def close(actual: object, expected: float, *, relative: float, absolute: float) -> bool:
    """`math.isclose` for an actual value of any kind; False for what is no number."""
    if not isinstance(actual, int | float):
        return False
    try:
        return math.isclose(actual, expected, rel_tol=relative, abs_tol=absolute)
    except (OverflowError, ValueError):
        return False


def _same_float(actual: float, expected: float) -> bool:
    if math.isnan(expected):
        return isinstance(actual, float) and math.isnan(actual)
    exact = expected != 0 and _significant(expected) <= _WRITTEN
    return close(actual, expected, relative=RELATIVE, absolute=0.0 if exact else ABSOLUTE)


def _significant(number: float) -> int:
    """How many significant digits a number has, written as short as it can be."""
    return len(repr(number).partition("e")[0].replace(".", "").strip("-0"))


def _same_mapping(actual: dict[object, object], expected: dict[object, object], *, from_json: bool) -> bool:
    if len(actual) != len(expected):
        return False
    missing = object()
    for key, value in expected.items():
        found = actual.get(key, missing)
        if found is missing and from_json and isinstance(key, str):
            found = next((actual[other] for other in actual if type(other) is int and str(other) == key), missing)
        if found is missing or not same_value(found, value, from_json=from_json):
            return False
    return True


def _same_line(actual: str, expected: str) -> bool:
    left, right = actual.split(), expected.split()
    return len(left) == len(right) and all(_same_token(one, other) for one, other in zip(left, right, strict=True))


def _same_drawing(pairs: Sequence[tuple[str, str]]) -> bool:
    """Whether lines without a number have the blanks that they should have, up to a margin of all of them, where they
    are a drawing: some hold neither letter nor digit, or they begin in different columns."""
    drawn = [pair for pair in pairs if pair[1] and not any(map(_NUMBER.fullmatch, pair[1].split()))]
    expected = [line for _, line in drawn]
    if len(set(map(_indentation, expected))) < 2 and all(any(map(str.isalnum, line)) for line in expected):
        return True
    return _without_margin([line for line, _ in drawn]) == _without_margin(expected)


def _without_margin(lines: Sequence[str]) -> list[str]:
    margin = min(map(_indentation, lines), default=0)
    return [line[margin:] for line in lines]


def _indentation(line: str) -> int:
    return len(line) - len(line.lstrip())


def _same_token(actual: str, expected: str) -> bool:
    if actual == expected:
        return True
    if not any(mark in expected for mark in ".eE") or not (_NUMBER.fullmatch(expected) and _NUMBER.fullmatch(actual)):
        return False
    wanted, got = float(expected), float(actual)
    return math.isfinite(wanted) and math.isfinite(got) and _same_float(got, wanted)
