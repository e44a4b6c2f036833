"""Texts compared by their words: the same but for layout, or nearly the same.

Near-duplicates are found by word shingles (Broder, "On the resemblance and containment of documents", 1997): the
windows of some words that a text is made of, as 64-bit hashes.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Set
from heapq import nsmallest

_FENCE = re.compile(r"^[ \t]*(?:`{3,}|~{3,})[ \t]*[\w+#.-]*[ \t]*$", re.MULTILINE)
_COMMENT = re.compile(r"^[ \t]*(?:#+|//+|/\*+|\*+/|\*(?=\s)|--(?=\s))", re.MULTILINE)
_MARKS = re.compile(r'"""|\'\'\'|`+')
_TOKEN = re.compile(r"\w+|[^\w\s]")
_WORD = re.compile(r"\w+")


def fingerprint(statement: str) -> str:
    """SHA-256 (hexadecimal) of the statement's words and signs: equal for statements that differ in layout, case,
    Markdown fences, quotes of docstrings and comment marks only."""
    bare = _MARKS.sub(" ", _FENCE.sub("", _COMMENT.sub("", "\n".join(_folded(statement).splitlines()))))
    return hashlib.sha256(" ".join(_TOKEN.findall(bare)).encode("utf-8", "surrogatepass")).hexdigest()


def words(text: str) -> list[str]:
    """The words and numbers of a text, case folded, without any sign."""
    return _WORD.findall(_folded(text))


def shingles(words: Iterable[str], size: int) -> frozenset[int]:
    """Hashes of all windows of `size` words; of a shorter text its only window."""
    every = list(words)
    windows = (" ".join(every[start : start + size]) for start in range(max(1, len(every) - size + 1)))
    return frozenset(_hash(window) for window in windows if window)


def sketch(shingles: Iterable[int], size: int) -> tuple[int, ...]:
    """The `size` smallest hashes, ascending: a uniform sample of the shingles (bottom-k)."""
    return tuple(nsmallest(size, shingles))


def resemblance(one: Set[int], other: Set[int]) -> float:
    """Shingles in both as a share of those in either, 0 to 1; two texts without words resemble nothing."""
    return len(one & other) / (len(one | other) or 1)


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


def _hash(window: str) -> int:
    return int.from_bytes(hashlib.blake2b(window.encode("utf-8", "surrogatepass"), digest_size=8).digest())
