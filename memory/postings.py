"""Words of experiences, and where they stand: lexical search within the experience store's SQLite file.

BM25 over postings of our own, not SQLite's FTS5: deleted text leaves FTS5's segments only with SQLite
3.42's `secure-delete` or a rewrite of the whole index, and a frequent word makes it rank every row that has it. Here
the rarest words of a query are looked up, so that the work is bounded, and a deleted word is gone.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter, defaultdict
from collections.abc import Sequence

import sqlalchemy as sa

from memory.sqlite import METADATA, AnyText, pages

_K1, _B, _USUAL_WORDS = 1.2, 0.75, 32.0
"""BM25's saturation and length normalisation; lengths are compared with a fixed one, so that a row's weight never
changes."""
_MOST_POSTINGS = 1_000
_MOST_WORDS = 16
"""A lexical query looks at the rows of its rarest words: so many words, and so many rows of all of them together."""

_WORDS = sa.Table(
    "words",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("shelf", sa.Integer, nullable=False),
    sa.Column("word", AnyText, nullable=False),
    sa.Column("held", sa.Integer, nullable=False),
    sa.UniqueConstraint("shelf", "word"),
    sqlite_autoincrement=True,
)
_POSTINGS = sa.Table(
    "postings",
    METADATA,
    sa.Column("word", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("experience", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("weight", sa.Integer, nullable=False),
    sqlite_with_rowid=False,
)
_WORDS_OF = (
    sa.select(_WORDS.c.number, _WORDS.c.held)
    .where(_WORDS.c.shelf == sa.bindparam("shelf_"), _WORDS.c.word.in_(sa.bindparam("words_", expanding=True)))
    .order_by(_WORDS.c.held)
    .limit(_MOST_WORDS)
)
_POSTINGS_OF = sa.select(_POSTINGS.c.experience, _POSTINGS.c.weight).where(_POSTINGS.c.word == sa.bindparam("word_"))


def post(connection: sa.Connection, counted: Sequence[tuple[int, int, Counter[str]]]) -> list[bytes]:
    """Write the postings of new rows (number, shelf, words); of each row the numbers of its words."""
    held: dict[tuple[int, str], int] = Counter((shelf, word) for _, shelf, words in counted for word in words)
    numbers: dict[tuple[int, str], int] = {}
    for shelf in {shelf for _, shelf, _ in counted}:
        mine = [word for place, word in held if place == shelf]
        numbers |= _numbered(connection, shelf, mine)
        fresh = [word for word in mine if (shelf, word) not in numbers]
        if fresh:
            connection.execute(_WORDS.insert(), [{"shelf": shelf, "word": word, "held": 0} for word in fresh])
            numbers |= _numbered(connection, shelf, fresh)
    if held:
        more = _WORDS.update().where(_WORDS.c.number == sa.bindparam("place"))
        more = more.values(held=_WORDS.c.held + sa.bindparam("more"))
        connection.execute(more, [{"place": numbers[key], "more": count} for key, count in held.items()])
    postings = []
    for number, shelf, words in counted:
        length = _K1 * (1 - _B + _B * words.total() / _USUAL_WORDS)
        for word, times in words.items():
            weight = round(100 * times * (_K1 + 1) / (times + length))
            postings.append({"word": numbers[shelf, word], "experience": number, "weight": weight})
    if postings:
        connection.execute(_POSTINGS.insert(), postings)
    return [array("q", (numbers[shelf, word] for word in words)).tobytes() for _, shelf, words in counted]


def unpost(connection: sa.Connection, rows: Sequence[tuple[int, bytes]]) -> None:
    """Delete the postings of rows (number, what `post` returned), and words that no row has any more."""
    words: Counter[int] = Counter()
    pairs = []
    for number, numbers in rows:
        mine = array("q", numbers)
        words.update(mine)
        pairs += [{"place": word, "row": number} for word in mine]
    if pairs:
        one = (_POSTINGS.c.word == sa.bindparam("place"), _POSTINGS.c.experience == sa.bindparam("row"))
        connection.execute(_POSTINGS.delete().where(*one), pairs)
        fewer = _WORDS.update().where(_WORDS.c.number == sa.bindparam("place"))
        fewer = fewer.values(held=_WORDS.c.held - sa.bindparam("fewer"))
        connection.execute(fewer, [{"place": word, "fewer": count} for word, count in words.items()])
        for some in pages(list(words)):
            connection.execute(_WORDS.delete().where(_WORDS.c.number.in_(some), _WORDS.c.held <= 0))


def ranked(
    connection: sa.Connection, shelf: int, held_by_shelf: int, words: Sequence[str], limit: int
) -> list[tuple[int, float]]:
    """The best rows of a shelf by BM25 over the rarest of these words, with their scores, best first."""
    scores: dict[int, float] = defaultdict(float)
    looked_at = 0
    for word, held in connection.execute(_WORDS_OF, {"shelf_": shelf, "words_": words}).all():
        looked_at += held
        if looked_at > _MOST_POSTINGS:
            break
        rarity = math.log(1 + (held_by_shelf - held + 0.5) / (held + 0.5))
        for experience, weight in connection.execute(_POSTINGS_OF, {"word_": word}).all():
            scores[experience] += rarity * weight
    return sorted(scores.items(), key=lambda hit: (-hit[1], hit[0]))[:limit]


def _numbered(connection: sa.Connection, shelf: int, words: Sequence[str]) -> dict[tuple[int, str], int]:
    found: dict[tuple[int, str], int] = {}
    for some in pages(words):
        query = sa.select(_WORDS.c.word, _WORDS.c.number).where(_WORDS.c.shelf == shelf, _WORDS.c.word.in_(some))
        found |= {(shelf, word): number for word, number in connection.execute(query)}
    return found
