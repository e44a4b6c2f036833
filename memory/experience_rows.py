"""The rows of the experience store, in one SQLite file: records, vectors, words, usage. Every call blocks.

This file is the truth; the vector index is made from it. A row is *pending* until the index has it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import sqlalchemy as sa
from sqlalchemy import event

from memory.embed import Vector
from memory.experience import Selection, Usage
from memory.postings import post, ranked, unpost
from memory.programs import program_digest, shape_digest
from memory.records import Experience
from memory.sqlite import METADATA, PAGE, AnyText, pages
from memory.wire import from_json, to_json
from memory.words import literal

_HALF_LIFE_S = 30 * 86_400.0
"""Age at which a use counts half: what did not help long ago gets another chance."""
_UNUSED = 0.5
"""Usefulness of what was never shown; that of the rest is (helped + 1) / (shown + 2), of faded counts."""
_NO_USAGE = Usage()


_FACTS = sa.Table(
    "facts", METADATA, sa.Column("name", sa.String(32), primary_key=True), sa.Column("value", sa.Text, nullable=False)
)
_SHELVES = sa.Table(
    "shelves",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("tenant", AnyText, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("held", sa.Integer, nullable=False),
    sa.UniqueConstraint("tenant", "kind"),
    sqlite_autoincrement=True,
)
_EXPERIENCES = sa.Table(
    "experiences",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("id", AnyText, nullable=False, unique=True),
    sa.Column("shelf", sa.Integer, nullable=False),
    sa.Column("pending", sa.Boolean, nullable=False),
    sa.Column("usefulness", sa.Float, nullable=False),
    sa.Column("created", sa.Float, nullable=False, index=True),
    sa.Column("program", sa.String(32), nullable=False),
    sa.Column("shape", sa.String(32), nullable=False),
    sa.Column("problem", AnyText, nullable=False),
    sa.Column("error", AnyText, nullable=False),
    sa.Column("trajectory_id", AnyText, nullable=False, index=True),
    sa.Column("words", sa.LargeBinary, nullable=False),
    sa.Column("record", sa.Text, nullable=False),
    sa.UniqueConstraint("shelf", "problem", "program"),
)
sa.Index("experiences_by_error", _EXPERIENCES.c.shelf, _EXPERIENCES.c.error, sqlite_where=_EXPERIENCES.c.error != "")
sa.Index("experiences_by_usefulness", _EXPERIENCES.c.shelf, _EXPERIENCES.c.usefulness, _EXPERIENCES.c.created)
sa.Index("experiences_pending", _EXPERIENCES.c.number, sqlite_where=_EXPERIENCES.c.pending)
_VECTORS = sa.Table(
    "vectors",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("vector", sa.LargeBinary, nullable=False),
)
_USAGE = sa.Table(
    "usage",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("shown", sa.Integer, nullable=False),
    sa.Column("helped", sa.Integer, nullable=False),
    sa.Column("faded_shown", sa.Float, nullable=False),
    sa.Column("faded_helped", sa.Float, nullable=False),
    sa.Column("time", sa.Float, nullable=False),
)
_GONE = sa.Table(
    "gone",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("collection", sa.String(64), nullable=False),
    sa.Column("completely", sa.Boolean, nullable=False),
)


# Statements made once: building one takes longer than running it.
_WITH_ID = sa.select(_EXPERIENCES.c.number).where(_EXPERIENCES.c.id == sa.bindparam("id_"))
_SAME = (
    sa.select(_EXPERIENCES.c.number)
    .join(_SHELVES, _SHELVES.c.number == _EXPERIENCES.c.shelf)
    .where(
        _SHELVES.c.tenant == sa.bindparam("tenant_"),
        _SHELVES.c.kind == sa.bindparam("kind_"),
        _EXPERIENCES.c.problem == sa.bindparam("problem_"),
        _EXPERIENCES.c.program == sa.bindparam("program_"),
    )
)
_SHELF_OF = sa.select(_SHELVES).where(
    _SHELVES.c.tenant == sa.bindparam("tenant_"), _SHELVES.c.kind == sa.bindparam("kind_")
)
_ENTRIES_OF = (
    sa.select(
        _EXPERIENCES.c.shelf,
        _EXPERIENCES.c.number,
        _EXPERIENCES.c.problem,
        _EXPERIENCES.c.shape,
        _EXPERIENCES.c.error,
        _USAGE.c.shown,
        _USAGE.c.helped,
        _USAGE.c.faded_shown,
        _USAGE.c.faded_helped,
        _USAGE.c.time,
    )
    .outerjoin(_USAGE, _USAGE.c.number == _EXPERIENCES.c.number)
    .where(_EXPERIENCES.c.number.in_(sa.bindparam("numbers_", expanding=True)))
)
_VECTORS_OF = sa.select(_VECTORS.c.number, _VECTORS.c.vector).where(
    _VECTORS.c.number.in_(sa.bindparam("numbers_", expanding=True))
)
_RECORDS_OF = sa.select(_EXPERIENCES.c.number, _EXPERIENCES.c.record).where(
    _EXPERIENCES.c.number.in_(sa.bindparam("numbers_", expanding=True))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """The experiences of one kind of one tenant."""

    number: int
    held: int
    collection: str
    """Its name in the vector index; made of numbers, so that a tenant's name cannot clash with or reach another's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class New:
    """An experience that may be kept."""

    experience: Experience
    program: str
    """`program_digest` of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What a search needs to know of one experience."""

    number: int
    problem: str
    shape: str
    error: str
    usage: Usage
    usefulness: float
    """Now, see `_UNUSED`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """One row that the index does not have."""

    number: int
    collection: str
    vector: Vector | None
    """None: it must be embedded first."""
    experience: Experience


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """One deleted row that the index may still have."""

    number: int
    collection: str
    completely: bool
    """Its vector must not be left in any file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Counts over all tenants."""

    solutions: int
    lessons: int
    tenants: int
    shown: int
    helped: int


class ExperienceRows:
    """One SQLite file. Its methods may be called from several threads; those that write, from one."""

    def __init__(self, path: Path) -> None:
        self._engine = sa.create_engine(f"sqlite:///{path}")
        event.listen(self._engine, "connect", _durable)
        with self._engine.begin() as connection:
            METADATA.create_all(connection)
            self._store = _fact(connection, "store") or uuid4().hex[:12]
            _note(connection, "store", self._store)

    @property
    def prefix(self) -> str:
        """With which the names of this file's collections begin."""
        return f"burnish-{self._store}-"

    def adopt(self, model: str) -> bool:
        """Make this the model of all vectors; True if there were vectors of another, which are gone now."""
        with self._engine.begin() as connection:
            before = _fact(connection, "model")
            _note(connection, "model", model)
            if before in (None, model):
                return False
            connection.execute(_VECTORS.delete())
            connection.execute(_SHELVES.update().values(generation=_SHELVES.c.generation + 1))
            connection.execute(_EXPERIENCES.update().values(pending=True))
            return True

    def begin(self, boot: str) -> bool:
        """Note that the store is open since this start of the machine; True if it was left open in an earlier one."""
        with self._engine.begin() as connection:
            before = _fact(connection, "boot")
            _note(connection, "boot", boot)
        return before not in (None, boot)

    def end(self) -> None:
        """Note that the store is closed."""
        with self._engine.begin() as connection:
            connection.execute(_FACTS.delete().where(_FACTS.c.name == "boot"))

    def shelves(self) -> list[Shelf]:
        """All shelves, the fullest first."""
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(_SHELVES).order_by(_SHELVES.c.held.desc())).all()
        return [self._shelf(row) for row in rows]

    def shelf(self, tenant: str, kind: str) -> Shelf | None:
        """The shelf of that tenant and kind, or None while nothing is on it."""
        with self._engine.connect() as connection:
            row = connection.execute(_SHELF_OF, {"tenant_": tenant, "kind_": kind}).first()
        return None if row is None else self._shelf(row)

    def new(self, experiences: Sequence[Experience]) -> list[New]:
        """Those that are not kept yet, each once."""
        marked = [New(experience=experience, program=program_digest(experience)) for experience in experiences]
        with self._engine.connect() as connection:
            return _unknown(connection, marked)

    def insert(self, candidates: Sequence[New], vectors: Sequence[Vector]) -> list[Pending]:
        """Keep what is still new, durably; the rows made."""
        given = {one.experience.id: vector for one, vector in zip(candidates, vectors, strict=True)}
        made: list[Pending] = []
        with self._engine.begin() as connection:
            new = _unknown(connection, candidates)
            if not new:
                return []
            first = int(_fact(connection, "next") or 1)
            _note(connection, "next", str(first + len(new)))  # a number is never used twice: Chroma may still know it
            rows: list[dict[str, object]] = []
            counted: list[tuple[int, int, Counter[str]]] = []
            for number, one in enumerate(new, first):
                experience = one.experience
                shelf = self._make_shelf(connection, experience.tenant, experience.kind)
                counted.append((number, shelf.number, literal(experience)))
                rows.append(_row(number, shelf.number, one))
                vector = given[experience.id].astype(np.float16).astype(np.float32)
                made.append(Pending(number=number, collection=shelf.collection, vector=vector, experience=experience))
            words = post(connection, counted)
            for row, numbers in zip(rows, words, strict=True):
                row["words"] = numbers
            connection.execute(_EXPERIENCES.insert(), rows)
            self._keep_vectors(connection, made)
            for shelf_number, added in Counter(shelf for _, shelf, _ in counted).items():
                _count(connection, shelf_number, added)
        return made

    def pending(self, limit: int) -> list[Pending]:
        """The newest rows that the index does not have."""
        query = (
            sa.select(
                _EXPERIENCES.c.number,
                _EXPERIENCES.c.record,
                _VECTORS.c.vector,
                _SHELVES.c.number,
                _SHELVES.c.generation,
            )
            .join(_SHELVES, _SHELVES.c.number == _EXPERIENCES.c.shelf)
            .outerjoin(_VECTORS, _VECTORS.c.number == _EXPERIENCES.c.number)
            .where(_EXPERIENCES.c.pending)
            .order_by(_EXPERIENCES.c.number.desc())
            .limit(limit)
        )
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return [
            Pending(
                number=number,
                collection=self._collection(shelf, generation),
                vector=None if vector is None else _vector(vector),
                experience=from_json(Experience, record),
            )
            for number, record, vector, shelf, generation in rows
        ]

    def keep_vectors(self, rows: Sequence[Pending]) -> None:
        """Keep vectors that were made again."""
        with self._engine.begin() as connection:
            self._keep_vectors(connection, rows)

    def indexed(self, numbers: Sequence[int]) -> None:
        """Note that the index has these rows."""
        self._flag(numbers, pending=False)

    def lost(self, numbers: Sequence[int]) -> None:
        """Note that the index does not have these rows."""
        self._flag(numbers, pending=True)

    def count_indexed(self, shelf: Shelf) -> int:
        """How many rows the index should have."""
        waiting = sa.select(sa.func.count()).where(_EXPERIENCES.c.pending, _EXPERIENCES.c.shelf == shelf.number)
        with self._engine.connect() as connection:
            return shelf.held - int(connection.execute(waiting).scalar_one())

    def numbers(self, shelf: Shelf) -> set[int]:
        """All rows of a shelf."""
        query = sa.select(_EXPERIENCES.c.number).where(_EXPERIENCES.c.shelf == shelf.number)
        with self._engine.connect() as connection:
            return set(connection.execute(query).scalars())

    def present(self, numbers: Sequence[int]) -> set[int]:
        """Those of these rows that have not been deleted."""
        query = sa.select(_EXPERIENCES.c.number)
        with self._engine.connect() as connection:
            return {
                number
                for some in pages(numbers)
                for number in connection.execute(query.where(_EXPERIENCES.c.number.in_(some))).scalars()
            }

    def few(self, shelf: Shelf, error: str | None, most: int) -> dict[int, Vector] | None:
        """The vectors of the shelf, of one error if it is given; None if they are more than `most`."""
        if error is None and shelf.held > most:
            return None
        query = sa.select(_EXPERIENCES.c.number).where(_EXPERIENCES.c.shelf == shelf.number)
        if error is not None:
            query = query.where(_EXPERIENCES.c.error == error, _EXPERIENCES.c.error != "")
        with self._engine.connect() as connection:
            numbers = list(connection.execute(query.limit(most + 1)).scalars())
        return self.vectors(numbers) if len(numbers) <= most else None

    def lexical(self, shelf: Shelf, words: Sequence[str], limit: int) -> list[tuple[int, float]]:
        """The best rows by BM25 over the rarest of these words, with their scores, best first."""
        if not words:
            return []
        with self._engine.connect() as connection:
            return ranked(connection, shelf.number, shelf.held, words, limit)

    def entries(self, shelf: Shelf, numbers: Sequence[int], now: float) -> dict[int, Entry]:
        """What is known of those of these rows that are on the shelf."""
        with self._engine.connect() as connection:
            rows = connection.execute(_ENTRIES_OF, {"numbers_": numbers}).all()
        return {number: _entry(number, row, now) for place, number, *row in rows if place == shelf.number}

    def vectors(self, numbers: Sequence[int]) -> dict[int, Vector]:
        """Stored vectors; rows that wait for another model's have none."""
        with self._engine.connect() as connection:
            rows = connection.execute(_VECTORS_OF, {"numbers_": numbers}).all()
        return {number: _vector(vector) for number, vector in rows}

    def records(self, numbers: Sequence[int]) -> dict[int, Experience]:
        """The experiences themselves."""
        with self._engine.connect() as connection:
            rows = connection.execute(_RECORDS_OF, {"numbers_": numbers}).all()
        return {number: from_json(Experience, record) for number, record in rows}

    def credit(self, ids: Sequence[str], *, helped: bool, now: float) -> None:
        """Count one use of each."""
        with self._engine.begin() as connection:
            query = (
                sa.select(_EXPERIENCES.c.number, *list(_USAGE.c)[1:])
                .outerjoin(_USAGE, _USAGE.c.number == _EXPERIENCES.c.number)
                .where(_EXPERIENCES.c.id.in_(ids))
            )
            for row in connection.execute(query).all():
                left = 0.0 if row.time is None else _left(row.time, now)
                shown, well = (row.faded_shown or 0.0) * left, (row.faded_helped or 0.0) * left
                values = {
                    "shown": (row.shown or 0) + 1,
                    "helped": (row.helped or 0) + helped,
                    "faded_shown": shown + 1,
                    "faded_helped": well + helped,
                    "time": now,
                }
                connection.execute(_USAGE.delete().where(_USAGE.c.number == row.number))
                connection.execute(_USAGE.insert().values(number=row.number, **values))
                useful = (well + helped + 1) / (shown + 3)
                same = _EXPERIENCES.c.number == row.number
                connection.execute(_EXPERIENCES.update().where(same).values(usefulness=useful))

    def over(self, tenant: str, most: int) -> list[int]:
        """The rows by which a tenant has more than `most`: least useful first, then oldest."""
        found: list[tuple[float, float, int]] = []
        with self._engine.connect() as connection:
            mine = connection.execute(sa.select(_SHELVES).where(_SHELVES.c.tenant == tenant)).all()
            excess = sum(shelf.held for shelf in mine) - most
            if excess <= 0:
                return []
            columns = _EXPERIENCES.c
            order = (columns.usefulness, columns.created, columns.number)
            for shelf in mine:
                query = sa.select(*order).where(columns.shelf == shelf.number).order_by(*order).limit(excess)
                found += [(useful, created, number) for useful, created, number in connection.execute(query)]
        return [number for *_, number in sorted(found)[:excess]]

    def select(self, selection: Selection) -> list[int]:
        """The rows that are meant."""
        with self._engine.connect() as connection:
            return list(connection.execute(_meant(sa.select(_EXPERIENCES.c.number), selection)).scalars())

    def page(self, selection: Selection, after: tuple[float, int] | None) -> tuple[list[Experience], tuple[float, int]]:
        """The next of the selected experiences, oldest first, and the place to go on from."""
        columns = _EXPERIENCES.c
        query = _meant(sa.select(columns.created, columns.number, columns.record), selection)
        if after is not None:
            query = query.where(sa.tuple_(columns.created, columns.number) > after)
        with self._engine.connect() as connection:
            rows = connection.execute(query.order_by(columns.created, columns.number).limit(PAGE)).all()
        place = (rows[-1].created, rows[-1].number) if rows else (0.0, 0)
        return [from_json(Experience, row.record) for row in rows], place

    def delete(self, numbers: Sequence[int], *, completely: bool) -> int:
        """Delete rows with their vectors, words and usage; the index is told later, see `gone`."""
        deleted = 0
        for start in range(0, len(numbers), PAGE):
            with self._engine.begin() as connection:
                if completely:
                    _note(connection, "unclean", "1")
                deleted += self._delete(connection, numbers[start : start + PAGE], completely)
        return deleted

    def gone(self, limit: int) -> list[Gone]:
        """Deleted rows that the index may still have."""
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(_GONE).order_by(_GONE.c.collection).limit(limit)).all()
        return [Gone(number=row.number, collection=row.collection, completely=row.completely) for row in rows]

    def settled(self, numbers: Sequence[int]) -> None:
        """Note that the index has none of these any more."""
        with self._engine.begin() as connection:
            for some in pages(numbers):
                connection.execute(_GONE.delete().where(_GONE.c.number.in_(some)))

    @property
    def unclean(self) -> bool:
        """Whether files may still hold what was to be forgotten completely."""
        with self._engine.connect() as connection:
            return _fact(connection, "unclean") is not None

    def clean(self, patience_s: float = 30.0) -> None:
        """Write the file anew without what was deleted. Raises TimeoutError while readers keep the log from being
        emptied."""
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(_FACTS.delete().where(_FACTS.c.name == "unclean"))
            connection.exec_driver_sql("VACUUM")
            ends = time.monotonic() + patience_s
            while connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()[0]:
                if time.monotonic() > ends:
                    _note(connection, "unclean", "1")
                    raise TimeoutError("the write-ahead log is in use")
                time.sleep(0.05)

    def totals(self, tenant: str | None) -> Totals:
        """Counts of one tenant, or of all."""
        own = sa.true() if tenant is None else _SHELVES.c.tenant == tenant
        kinds = sa.select(_SHELVES.c.kind, sa.func.sum(_SHELVES.c.held).label("held")).where(own)
        used = sa.select(sa.func.coalesce(sa.func.sum(_USAGE.c.shown), 0), sa.func.sum(_USAGE.c.helped))
        if tenant is not None:
            shelves = sa.select(_SHELVES.c.number).where(own)
            rows = sa.select(_EXPERIENCES.c.number).where(_EXPERIENCES.c.shelf.in_(shelves))
            used = used.where(_USAGE.c.number.in_(rows))
        with self._engine.connect() as connection:
            held = {row.kind: int(row.held) for row in connection.execute(kinds.group_by(_SHELVES.c.kind))}
            tenants = connection.execute(sa.select(sa.func.count(_SHELVES.c.tenant.distinct())).where(own)).scalar_one()
            shown, helped = connection.execute(used).one()
        return Totals(
            solutions=held.get("solution", 0),
            lessons=held.get("lesson", 0),
            tenants=tenants,
            shown=shown,
            helped=helped or 0,
        )

    def close(self) -> None:
        """Close the file."""
        self._engine.dispose()

    def _shelf(self, row: sa.Row[Any]) -> Shelf:
        return Shelf(number=row.number, held=row.held, collection=self._collection(row.number, row.generation))

    def _collection(self, shelf: int, generation: int) -> str:
        return f"{self.prefix}{shelf}-{generation}"

    def _make_shelf(self, connection: sa.Connection, tenant: str, kind: str) -> Shelf:
        place = {"tenant_": tenant, "kind_": kind}
        row = connection.execute(_SHELF_OF, place).first()
        if row is None:
            connection.execute(_SHELVES.insert().values(tenant=tenant, kind=kind, generation=1, held=0))
            row = connection.execute(_SHELF_OF, place).one()
        return self._shelf(row)

    def _keep_vectors(self, connection: sa.Connection, rows: Sequence[Pending]) -> None:
        made = [row for row in rows if row.vector is not None]
        for some in pages([row.number for row in made]):
            connection.execute(_VECTORS.delete().where(_VECTORS.c.number.in_(some)))
        values = [{"number": row.number, "vector": _blob(row.vector)} for row in made if row.vector is not None]
        if values:
            connection.execute(_VECTORS.insert(), values)

    def _flag(self, numbers: Sequence[int], *, pending: bool) -> None:
        with self._engine.begin() as connection:
            for some in pages(numbers):
                connection.execute(_EXPERIENCES.update().where(_EXPERIENCES.c.number.in_(some)).values(pending=pending))

    def _delete(self, connection: sa.Connection, numbers: Sequence[int], completely: bool) -> int:
        columns = _EXPERIENCES.c
        query = sa.select(columns.number, columns.words, columns.shelf, _SHELVES.c.generation)
        query = query.join(_SHELVES, _SHELVES.c.number == columns.shelf).where(columns.number.in_(numbers))
        rows = connection.execute(query).all()
        unpost(connection, [(row.number, row.words) for row in rows])
        for table in (_EXPERIENCES, _VECTORS, _USAGE):
            connection.execute(table.delete().where(table.c.number.in_(numbers)))
        for shelf, count in Counter(row.shelf for row in rows).items():
            _count(connection, shelf, -count)
        connection.execute(_SHELVES.delete().where(_SHELVES.c.held <= 0))
        if rows:
            connection.execute(
                _GONE.insert(),
                [
                    {
                        "number": row.number,
                        "collection": self._collection(row.shelf, row.generation),
                        "completely": completely,
                    }
                    for row in rows
                ],
            )
        return len(rows)


def _durable(connection: sa.engine.interfaces.DBAPIConnection, _: object) -> None:
    """Readers beside the writer, commits that are on the disk when they return, zeros where something was deleted."""
    cursor = connection.cursor()
    settings = ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000", "secure_delete=ON", "cache_size=-32000")
    for setting in settings:
        cursor.execute(f"PRAGMA {setting}")
    cursor.close()


def _fact(connection: sa.Connection, name: str) -> str | None:
    return connection.execute(sa.select(_FACTS.c.value).where(_FACTS.c.name == name)).scalar_one_or_none()


def _note(connection: sa.Connection, name: str, value: str) -> None:
    connection.execute(_FACTS.delete().where(_FACTS.c.name == name))
    connection.execute(_FACTS.insert().values(name=name, value=value))


def _count(connection: sa.Connection, shelf: int, more: int) -> None:
    connection.execute(_SHELVES.update().where(_SHELVES.c.number == shelf).values(held=_SHELVES.c.held + more))


def _unknown(connection: sa.Connection, candidates: Sequence[New]) -> list[New]:
    """Those that are not kept, each once."""
    seen: set[str | tuple[str, str, str, str]] = set()
    new = []
    for one in candidates:
        id_, key = one.experience.id, (one.experience.tenant, one.experience.kind, one.experience.problem, one.program)
        if id_ in seen or key in seen:
            continue
        seen |= {id_, key}
        same = dict(zip(("tenant_", "kind_", "problem_", "program_"), key, strict=True))
        if (
            connection.execute(_WITH_ID, {"id_": id_}).first() is None
            and connection.execute(_SAME, same).first() is None
        ):
            new.append(one)
    return new


def _row(number: int, shelf: int, new: New) -> dict[str, object]:
    experience = new.experience
    return {
        "number": number,
        "id": experience.id,
        "shelf": shelf,
        "pending": True,
        "usefulness": _UNUSED,
        "created": experience.created,
        "program": new.program,
        "shape": shape_digest(experience),
        "problem": experience.problem,
        "error": experience.error,
        "trajectory_id": experience.trajectory_id,
        "record": to_json(experience),
    }


def _entry(number: int, row: Sequence[Any], now: float) -> Entry:
    problem, shape, error, shown, helped, faded_shown, faded_helped, used = row
    usage, usefulness = _NO_USAGE, _UNUSED
    if shown is not None:
        left = _left(used, now)
        usage = Usage(shown=shown, helped=helped)
        usefulness = (faded_helped * left + 1) / (faded_shown * left + 2)
    return Entry(number=number, problem=problem, shape=shape, error=error, usage=usage, usefulness=usefulness)


def _left(used: float, now: float) -> float:
    """What is left of uses that were counted at that time."""
    return float(0.5 ** (max(0.0, now - used) / _HALF_LIFE_S))


def _meant(query: sa.Select[Any], selection: Selection) -> sa.Select[Any]:
    columns = _EXPERIENCES.c
    if selection.tenant is not None:
        query = query.where(
            columns.shelf.in_(sa.select(_SHELVES.c.number).where(_SHELVES.c.tenant == selection.tenant))
        )
    if selection.ids is not None:
        query = query.where(columns.id.in_(selection.ids))
    if selection.trajectory_id is not None:
        query = query.where(columns.trajectory_id == selection.trajectory_id)
    if selection.since is not None:
        query = query.where(columns.created >= selection.since)
    if selection.until is not None:
        query = query.where(columns.created < selection.until)
    return query


def _blob(vector: Vector) -> bytes:
    """Half precision: a cosine changes by less than a thousandth, the file is half as large."""
    return vector.astype(np.float16).tobytes()


def _vector(blob: bytes) -> Vector:
    return np.frombuffer(blob, dtype=np.float16).astype(np.float32)
