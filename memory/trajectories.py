"""The trajectory store: every request's attempts, kept in SQLite, or in PostgreSQL where a URL names one.

A trajectory is one row: the columns that are searched, and the whole record as JSON. `append` returns when the
database has committed to disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError

from memory.errors import StoreUnavailable
from memory.experience import Selection
from memory.records import Trajectory
from memory.wire import from_json, to_json

Result = TypeVar("Result")
Query = TypeVar("Query", bound=sa.Select[Any])

_AT_ONCE = 500
"""Rows in one statement."""
_READ_AT_ONCE = 32
"""Whole records in one statement: one may have a megabyte."""

_METADATA = sa.MetaData()
_TRAJECTORIES = sa.Table(
    "trajectories",
    _METADATA,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("started", sa.Float, nullable=False, index=True),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("model_version", sa.String(200), nullable=False, index=True),
    sa.Column("tenant", sa.String(64), nullable=False, index=True),
    sa.Column("consent", sa.Boolean, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("schema_version", sa.Integer, nullable=False),
    sa.Column("record", sa.Text, nullable=False),
)
_FEEDBACK = sa.Table(
    "feedback",
    _METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("trajectory_id", sa.String(64), sa.ForeignKey("trajectories.id"), nullable=False, index=True),
    sa.Column("accepted", sa.Boolean, nullable=False),
    sa.Column("comment", sa.Text, nullable=True),
    sa.Column("time", sa.Float, nullable=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One line of a listing."""

    id: str
    started: float
    status: str
    outcome: str
    """Outcome of the accepted attempt, or `none`."""
    model_version: str
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """What the user did with an answer."""

    accepted: bool
    comment: str | None
    time: float


class TrajectoryStore(Protocol):
    """Keeps trajectories. Every method raises StoreUnavailable when the database fails."""

    async def append(self, trajectory: Trajectory) -> None:
        """Store it durably; the same id again is the same trajectory and changes nothing."""

    async def get(self, trajectory_id: str, tenant: str | None = None) -> Trajectory | None:
        """The trajectory, or None if there is none of that id (or it belongs to another tenant)."""

    async def newest(self, limit: int, before: float | None = None, tenant: str | None = None) -> Sequence[Summary]:
        """The newest trajectories that started before the given Unix time."""

    def select(self, selection: Selection, model_version: str | None = None) -> AsyncIterator[Trajectory]:
        """The selected trajectories, of one model version or of all, oldest first; read some at a time. `ids` of the
        selection are those of experiences and not looked at."""

    async def known(self, ids: Sequence[str]) -> Set[str]:
        """Those of the ids that are stored."""

    async def add_feedback(self, trajectory_id: str, feedback: Feedback, tenant: str | None = None) -> bool:
        """Keep what the user did with the answer; False if the trajectory is not known."""

    async def feedback(self, trajectory_id: str) -> Sequence[Feedback]:
        """Everything users said of one trajectory, oldest first."""

    async def purge(self, selection: Selection) -> Sequence[str]:
        """Forget the selected trajectories and what was said of them, completely; the ids of the forgotten."""

    async def check(self) -> None:
        """Raise StoreUnavailable unless the database answers."""

    async def aclose(self) -> None:
        """Close the connections."""


class SqlTrajectoryStore:
    """`TrajectoryStore` over SQLAlchemy, on one thread of its own so that the event loop never waits for a disk."""

    def __init__(self, url: str) -> None:
        """Raises StoreUnavailable: a URL that cannot be used."""
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="trajectories")
        self._engine = _engine(url)
        if self._engine.dialect.name == "sqlite":
            event.listen(self._engine, "connect", _durable)

    @classmethod
    async def open(cls, location: Path | str) -> SqlTrajectoryStore:
        """Open a SQLite file or a database URL and create missing tables. Raises StoreUnavailable."""
        store = cls(location if isinstance(location, str) else f"sqlite:///{location}")
        await store._call(lambda connection: _METADATA.create_all(connection))
        return store

    async def append(self, trajectory: Trajectory) -> None:
        """See TrajectoryStore.append."""
        row = _row(trajectory)

        def write(connection: sa.Connection) -> None:
            known = sa.select(_TRAJECTORIES.c.id).where(_TRAJECTORIES.c.id == trajectory.id)
            if connection.execute(known).first() is None:
                connection.execute(_TRAJECTORIES.insert().values(row))

        await self._call(write)

    async def get(self, trajectory_id: str, tenant: str | None = None) -> Trajectory | None:
        """See TrajectoryStore.get."""
        query = sa.select(_TRAJECTORIES.c.record).where(_TRAJECTORIES.c.id == trajectory_id)
        if tenant is not None:
            query = query.where(_TRAJECTORIES.c.tenant == tenant)
        record = await self._call(lambda connection: connection.execute(query).scalar_one_or_none())
        return None if record is None else from_json(Trajectory, record)

    async def newest(self, limit: int, before: float | None = None, tenant: str | None = None) -> Sequence[Summary]:
        """See TrajectoryStore.newest."""
        columns = _TRAJECTORIES.c
        query = sa.select(
            columns.id, columns.started, columns.status, columns.outcome, columns.model_version, columns.attempts
        )
        if before is not None:
            query = query.where(columns.started < before)
        if tenant is not None:
            query = query.where(columns.tenant == tenant)
        query = query.order_by(columns.started.desc()).limit(limit)
        rows = await self._call(lambda connection: connection.execute(query).mappings().all())
        return [Summary(**row) for row in rows]

    async def select(self, selection: Selection, model_version: str | None = None) -> AsyncIterator[Trajectory]:
        """See TrajectoryStore.select."""
        columns = _TRAJECTORIES.c
        query = _selected(sa.select(columns.started, columns.id, columns.record), selection)
        if model_version is not None:
            query = query.where(columns.model_version == model_version)
        query = query.order_by(columns.started, columns.id).limit(_READ_AT_ONCE)
        rest = query
        while rows := await self._call(partial(_fetched, rest)):
            for row in rows:
                yield from_json(Trajectory, row.record)
            last = rows[-1]
            rest = query.where(sa.tuple_(columns.started, columns.id) > (last.started, last.id))

    async def known(self, ids: Sequence[str]) -> Set[str]:
        """See TrajectoryStore.known."""

        def look(connection: sa.Connection) -> Set[str]:
            found: set[str] = set()
            for start in range(0, len(ids), _AT_ONCE):
                part = _TRAJECTORIES.c.id.in_(ids[start : start + _AT_ONCE])
                found.update(connection.execute(sa.select(_TRAJECTORIES.c.id).where(part)).scalars())
            return found

        return await self._call(look)

    async def add_feedback(self, trajectory_id: str, feedback: Feedback, tenant: str | None = None) -> bool:
        """See TrajectoryStore.add_feedback."""
        known = sa.select(_TRAJECTORIES.c.id).where(_TRAJECTORIES.c.id == trajectory_id)
        if tenant is not None:
            known = known.where(_TRAJECTORIES.c.tenant == tenant)

        def write(connection: sa.Connection) -> bool:
            if connection.execute(known).first() is None:
                return False
            connection.execute(
                _FEEDBACK.insert().values(
                    trajectory_id=trajectory_id,
                    accepted=feedback.accepted,
                    comment=feedback.comment,
                    time=feedback.time,
                )
            )
            return True

        return await self._call(write)

    async def feedback(self, trajectory_id: str) -> Sequence[Feedback]:
        """See TrajectoryStore.feedback."""
        columns = _FEEDBACK.c
        query = sa.select(columns.accepted, columns.comment, columns.time)
        query = query.where(columns.trajectory_id == trajectory_id).order_by(columns.id)
        rows = await self._call(lambda connection: connection.execute(query).mappings().all())
        return [Feedback(**row) for row in rows]

    async def purge(self, selection: Selection) -> Sequence[str]:
        """See TrajectoryStore.purge. A SQLite file is written anew, so that nothing of them stays in it."""
        columns = _TRAJECTORIES.c
        chosen = _selected(sa.select(columns.id), selection)

        def forget(connection: sa.Connection) -> Sequence[str]:
            ids = connection.execute(chosen).scalars().all()
            for start in range(0, len(ids), _AT_ONCE):
                part = ids[start : start + _AT_ONCE]
                connection.execute(_FEEDBACK.delete().where(_FEEDBACK.c.trajectory_id.in_(part)))
                connection.execute(_TRAJECTORIES.delete().where(columns.id.in_(part)))
            return ids

        forgotten = await self._call(forget)
        if forgotten and self._engine.dialect.name == "sqlite":
            await self._call(_rewrite)
        return forgotten

    async def check(self) -> None:
        """See TrajectoryStore.check."""
        await self._call(lambda connection: connection.execute(sa.select(1)))

    async def aclose(self) -> None:
        """See TrajectoryStore.aclose."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._engine.dispose)
        self._thread.shutdown()

    async def _call(self, work: Callable[[sa.Connection], Result]) -> Result:
        """Run `work` in one transaction on the store's thread."""

        def transaction() -> Result:
            with self._engine.begin() as connection:
                return work(connection)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, transaction)
        except SQLAlchemyError as error:
            raise _unavailable(self._engine.url, getattr(error, "orig", None) or error) from error


def _engine(url: str) -> sa.Engine:
    """Raises StoreUnavailable for a URL that nothing can be done with here; it may hold a password, so no text of it is
    repeated before it is parsed."""
    try:
        parsed = sa.make_url(url)
    except SQLAlchemyError as error:
        raise StoreUnavailable(
            "trajectory store: this is no database URL; write sqlite:////FOLDER/FILE or postgresql+psycopg://HOST/NAME"
        ) from error
    try:
        engine = sa.create_engine(parsed)
    except (SQLAlchemyError, ImportError) as error:
        raise _unavailable(parsed, f"{error}; install its driver, or name another one") from error
    if engine.dialect.is_async:
        backend = parsed.get_backend_name()
        why = (
            f"{engine.driver} is a driver for asyncio, which is not used here; name another one, or none: {backend}://"
        )
        raise _unavailable(parsed, why)
    return engine


def _unavailable(url: sa.URL, why: object) -> StoreUnavailable:
    return StoreUnavailable(f"trajectory store {url.render_as_string(hide_password=True)}: {why}")


def _fetched(query: sa.Select[Any], connection: sa.Connection) -> Sequence[sa.Row[Any]]:
    return connection.execute(query).all()


def _selected(query: Query, selection: Selection) -> Query:
    """The rows of `query` that the selection means."""
    columns = _TRAJECTORIES.c
    if selection.tenant is not None:
        query = query.where(columns.tenant == selection.tenant)
    if selection.trajectory_id is not None:
        query = query.where(columns.id == selection.trajectory_id)
    if selection.since is not None:
        query = query.where(columns.started >= selection.since)
    if selection.until is not None:
        query = query.where(columns.started < selection.until)
    return query


def _durable(connection: sa.engine.interfaces.DBAPIConnection, _: object) -> None:
    """Readers beside the writer, and commits that are on the disk when they return."""
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _rewrite(connection: sa.Connection) -> None:
    """Leave nothing of deleted rows in the file or its log."""
    raw = connection.connection.driver_connection
    assert raw is not None, "a transaction has a connection"
    raw.commit()
    raw.execute("VACUUM")
    raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _row(trajectory: Trajectory) -> dict[str, object]:
    accepted = None if trajectory.accepted is None else trajectory.attempts[trajectory.accepted]
    return {
        "id": trajectory.id,
        "started": trajectory.started,
        "status": trajectory.status,
        "outcome": "none" if accepted is None or accepted.verdict is None else accepted.verdict.outcome.value,
        "model_version": trajectory.model_version,
        "tenant": trajectory.tenant,
        "consent": trajectory.consent,
        "attempts": len(trajectory.attempts),
        "schema_version": trajectory.schema_version,
        "record": to_json(trajectory),
    }
