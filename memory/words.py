"""What an experience is found by: the text that is compared by meaning, and the words that are compared literally."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from memory.records import Experience

_NAME = re.compile(r"[^\W\d]\w*")
_SEAM = re.compile(r"_+|(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_LONGEST_WORD = 40
_MOST_WORDS = 128
"""Of one experience; a text that somebody pasted must not fill the index."""


def meaning(experience: Experience) -> str:
    """The text that is embedded: the gist of a solution; error, message and blamed lines of a lesson."""
    if experience.kind == "solution":
        return experience.gist
    return failure_text(experience.error, experience.message, experience.blamed)


def failure_text(error: str, message: str, blamed: str) -> str:
    """The text by which lessons are found; queries for lessons are written the same way."""
    return f"{error}: {message}\n{blamed}"


def literal(experience: Experience) -> Counter[str]:
    """The words of an experience and how often each occurs."""
    parts = [experience.signature, meaning(experience)]
    counted = Counter(word for part in parts for word in _words(part))
    return Counter(dict(counted.most_common(_MOST_WORDS)))


def words_of(texts: Iterable[str]) -> tuple[str, ...]:
    """The words of these texts in lower case, each once: whole identifiers and their parts (`two_sum`, `two`,
    `sum`)."""
    return tuple(dict.fromkeys(word for text in texts for word in _words(text)))


def _words(text: str) -> list[str]:
    found = []
    for name in _NAME.findall(text):
        parts = _SEAM.split(name)
        for word in [name, *parts] if len(parts) > 1 else [name]:
            if 1 < len(word) <= _LONGEST_WORD:
                found.append(word.lower())
    return found
