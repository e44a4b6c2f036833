"""What a program answered, as a text that is equal for equal answers: short ones in full, long ones with a digest."""

from __future__ import annotations

import hashlib
import math
import re

_FULL = 200
_DIGITS = 6
"""Significant digits of floats that count."""
_ADDRESS = re.compile(r"0x[0-9a-f]{6,}")
"""Where an object lies in memory says nothing about it."""


def of_value(value: object) -> str:
    """The text of plain data; what compares equal has equal texts, but for floats at the edge of rounding."""
    try:
        return _short(_text(value))
    except (ValueError, RecursionError) as error:
        return f"<{type(value).__name__}: {type(error).__name__}>"


def of_text(printed: str) -> str:
    """The text of what was printed, blanks at the ends of lines and empty lines at the end apart."""
    return _short("\n".join(line.rstrip() for line in printed.rstrip().splitlines()))


def _text(value: object) -> str:
    match value:
        case bool():
            return str(int(value))
        case float():
            whole = math.isfinite(value) and value == int(value) and abs(value) < 10**_DIGITS
            return str(int(value)) if whole else f"{value:.{_DIGITS}g}"
        case list():
            return f"[{', '.join(map(_text, value))}]"
        case tuple():
            return f"({', '.join(map(_text, value))},)"
        case set() | frozenset():
            return f"{{{', '.join(sorted(map(_text, value)))}}}"
        case dict():
            return f"{{{', '.join(sorted(f'{_text(key)}: {_text(held)}' for key, held in value.items()))}}}"
        case _:
            return _ADDRESS.sub("0x", repr(value))


def _short(text: str) -> str:
    if len(text) <= _FULL:
        return text
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]
    return f"{text[:_FULL]}... ({len(text)} characters, {digest})"
