"""The experience store: rows in SQLite, which are the truth, and their vectors in Chroma, which can be made again.

What `add` has acknowledged is in the rows, on disk. Each row knows whether Chroma has it, and each deleted row is
remembered until Chroma has forgotten it; opening brings Chroma up to date, whatever was interrupted, and makes it anew
if its files are lost or the embedding model is another.

Ranking: the hits of both searches that are above the similarity floor, ordered by similarity and by BM25, are
fused by reciprocal rank (Cormack, Clarke and Büttcher, SIGIR 2009), `1 / (60 + place)` each, and multiplied by
`min(1, (helped + 1) / (shown + 2) / 0.5)`, in which a use counts half after 30 days. What was never shown, or helped at
least every other time, is not moved.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import shutil
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from memory.chroma import ChromaIndex
from memory.embed import Embedder, Vector
from memory.errors import EmbedderUnavailable, IndexFailure, StoreUnavailable
from memory.experience import Query, Recalled, Selection, Stats
from memory.experience_rows import Entry, ExperienceRows, New, Pending, Shelf
from memory.records import Experience
from memory.words import meaning, words_of

Result = TypeVar("Result")

DEFAULT_FLOOR = 0.35
"""Cosine below which nothing is returned."""
DEFAULT_MOST = 1_000_000
"""Experiences of one tenant."""
_FUSION = 60
_SAME_SCORE = 1e-3
"""Hits whose scores differ by no more share a place."""
_FIRST_LOOK = 16
_LAST_LOOK = 512
"""Vectors asked for at first, and at most, while conditions and doubles leave fewer hits than wanted."""
_MOST_WORDS = 256
"""Of a query; the rest of a prompt of thousands of words is not looked up."""
_FEW = 1_000
"""Up to so many, a shelf or the lessons about an error are compared one by one: in 2 ms, and none can be missed."""
_PAGE = 500
_AT_ONCE = 2_000
"""Rows that Chroma lacks and gets before the store counts as open; more are added in the background."""
_WARMED = 16
"""Fullest shelves whose graphs are read on opening, so that no request waits for it."""
_READERS = 2
_FAILURES = (SQLAlchemyError, ValidationError, IndexFailure, OSError)

_log = logging.getLogger("burnish.memory")


class DurableExperienceStore:
    """`ExperienceStore` in one folder; one process at a time."""

    def __init__(self, folder: Path, embedder: Embedder, floor: float, most: int, clock: Callable[[], float]) -> None:
        self._folder = folder
        self._embedder = embedder
        self._floor = floor
        self._most = most
        self._clock = clock
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="experiences-write")
        self._readers = ThreadPoolExecutor(max_workers=_READERS, thread_name_prefix="experiences-read")
        self._opened = ExitStack()
        self._rows: ExperienceRows
        self._index: ChromaIndex
        self._catching_up: asyncio.Task[None] | None = None
        self._behind = False
        """Chroma did not take everything; the next `add` tries again."""

    @classmethod
    async def open(
        cls,
        folder: Path,
        embedder: Embedder,
        *,
        chroma_url: str | None = None,
        floor: float = DEFAULT_FLOOR,
        most: int = DEFAULT_MOST,
        clock: Callable[[], float] = time.time,
    ) -> DurableExperienceStore:
        """Open or make the store. `chroma_url` names a Chroma server instead of the embedded one, `floor` is the least
        cosine of a hit, `most` the number of experiences of a tenant beyond which the least useful are forgotten, then
        the oldest. The embedder stays the caller's to close. Raises StoreUnavailable."""
        store = cls(folder, embedder, floor, most, clock)
        try:
            await store._write(lambda: store._open(chroma_url))
            await store._catch_up(_AT_ONCE)
            await store._write(store._compare)
            await store._catch_up(_AT_ONCE)
            if await store._write(lambda: store._rows.pending(1)):
                store._catching_up = asyncio.create_task(store._catch_up_behind())
        except BaseException:
            await store._close()
            raise
        return store

    async def ready(self) -> None:
        """Wait until everything kept can be found."""
        if self._catching_up is not None:
            await asyncio.wait([self._catching_up])

    async def add(self, experiences: Sequence[Experience]) -> int:
        """See ExperienceStore.add."""
        new = await self._read(lambda: self._rows.new(experiences))
        if not new:
            return 0
        vectors = await self._embed([meaning(one.experience) for one in new])
        added = await self._write(lambda: self._insert(new, vectors))
        if self._behind and (self._catching_up is None or self._catching_up.done()):
            self._catching_up = asyncio.create_task(self._catch_up_behind())
        return added

    async def near(self, query: Query) -> Sequence[Recalled]:
        """See ExperienceStore.near."""
        [vector] = await self._embed([query.text])
        return await self._read(lambda: self._search(query, vector))

    async def credit(self, ids: Sequence[str], *, helped: bool) -> None:
        """See ExperienceStore.credit."""
        await self._write(lambda: self._rows.credit(ids, helped=helped, now=self._clock()))

    async def withdraw(self, selection: Selection) -> int:
        """See ExperienceStore.withdraw."""
        return await self._write(lambda: self._forget(self._rows.select(selection)))

    async def purge(self, selection: Selection) -> int:
        """See ExperienceStore.purge. The files are written anew, which takes seconds for each gigabyte; on a Chroma
        server `chroma vacuum` is its operator's task."""
        return await self._write(lambda: self._purge(selection))

    async def every(self, selection: Selection) -> AsyncIterator[Experience]:
        """See ExperienceStore.every."""
        place: tuple[float, int] | None = None
        while True:
            page, place = await self._read(partial(self._rows.page, selection, place))
            if not page:
                return
            for experience in page:
                yield experience

    async def stats(self, tenant: str | None = None) -> Stats:
        """See ExperienceStore.stats."""
        totals, disk = await self._read(lambda: (self._rows.totals(tenant), _disk_bytes(self._folder)))
        return Stats(
            solutions=totals.solutions,
            lessons=totals.lessons,
            tenants=totals.tenants,
            shown=totals.shown,
            helped=totals.helped,
            disk_bytes=disk,
            model=self._embedder.name,
        )

    async def aclose(self) -> None:
        """See ExperienceStore.aclose."""
        if self._catching_up is not None:
            self._catching_up.cancel()
            await asyncio.gather(self._catching_up, return_exceptions=True)
        await self._close()

    def _open(self, chroma_url: str | None) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = self._opened.enter_context((self._folder / "lock").open("w"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreUnavailable(f"experience store {self._folder}: another process has it open") from error
        self._rows = ExperienceRows(self._folder / "experiences.sqlite")
        self._opened.callback(self._rows.close)
        model = f"{self._embedder.name} ({self._embedder.dimensions})"
        if self._rows.adopt(model):
            _log.warning("embedding model is now %s: every experience is embedded again", model)
        if self._rows.begin(_boot()) and (self._folder / "chroma").exists():
            _log.warning("the machine went down: Chroma's files may be incomplete and are made anew")
            shutil.rmtree(self._folder / "chroma")
        self._index = self._open_index(chroma_url)
        self._opened.callback(self._rows.end)
        self._opened.callback(self._index.close)
        if torn := self._index.mend():
            _log.warning("Chroma was writing when the process was killed: collection %s is made anew", torn)
        known = {shelf.collection for shelf in self._rows.shelves()}
        for name in self._index.names(self._rows.prefix):
            if name not in known:
                self._index.drop(name)
        if self._rows.unclean:
            self._finish_purge(known)
        self._settle_gone()

    def _open_index(self, chroma_url: str | None) -> ChromaIndex:
        if chroma_url is not None:
            return ChromaIndex.connect(chroma_url, self._embedder.dimensions)
        folder = self._folder / "chroma"
        try:
            return ChromaIndex.open(folder, self._embedder.dimensions)
        except IndexFailure as error:
            _log.error("%s; it is made anew", error)
            shutil.rmtree(folder)
            return ChromaIndex.open(folder, self._embedder.dimensions)

    def _compare(self) -> None:
        """Find out what Chroma has lost, or has too much, and read the fullest graphs."""
        anywhere = np.full(self._embedder.dimensions, self._embedder.dimensions**-0.5, dtype=np.float32)
        for place, shelf in enumerate(self._rows.shelves()):
            try:
                if self._index.size(shelf.collection) != self._rows.count_indexed(shelf):
                    have, wanted = self._index.numbers(shelf.collection), self._rows.numbers(shelf)
                    _log.warning("Chroma lacks %d of %d experiences of a shelf", len(wanted - have), len(wanted))
                    self._rows.lost(sorted(wanted - have))
                    self._index.forget(shelf.collection, sorted(have - wanted))
                if place < _WARMED and shelf.held > _FEW:
                    self._index.nearest(shelf.collection, anywhere, 1)
            except IndexFailure as error:
                if not self._index.embedded:
                    raise
                _log.error("%s; the %d experiences of this shelf are brought into Chroma again", error, shelf.held)
                self._index.drop(shelf.collection)
                self._rows.lost(sorted(self._rows.numbers(shelf)))

    async def _catch_up_behind(self) -> None:
        self._behind = False
        try:
            await self._catch_up(None)
        except StoreUnavailable as error:
            self._behind = True
            _log.error("not everything kept can be found yet: %s", error)

    async def _catch_up(self, most: int | None) -> None:
        """Bring up to `most` pending rows into Chroma, newest first."""
        done = 0
        while most is None or done < most:
            rows = await self._read(lambda: self._rows.pending(_PAGE))
            if not rows:
                break
            bare = [row for row in rows if row.vector is None]
            vectors = await self._embed([meaning(row.experience) for row in bare])
            made = [replace(row, vector=vector) for row, vector in zip(bare, vectors, strict=True)]
            await self._write(partial(self._complete, rows, made))
            done += len(rows)
            _log.info("%d experiences brought into Chroma", done)

    def _complete(self, rows: Sequence[Pending], made: Sequence[Pending]) -> None:
        self._rows.keep_vectors(made)
        self._put([row for row in rows if row.vector is not None] + list(made))

    def _put(self, rows: Sequence[Pending]) -> None:
        kept = self._rows.present([row.number for row in rows])
        by_collection: dict[str, list[tuple[int, Vector]]] = defaultdict(list)
        for row in rows:
            if row.vector is not None and row.number in kept:
                by_collection[row.collection].append((row.number, row.vector))
        for collection, pairs in by_collection.items():
            numbers = [number for number, _ in pairs]
            self._index.put(collection, numbers, [vector for _, vector in pairs])
            self._rows.indexed(numbers)

    def _insert(self, candidates: Sequence[New], vectors: Sequence[Vector]) -> int:
        made = self._rows.insert(candidates, vectors)
        try:
            self._put(made)
            for tenant in {row.experience.tenant for row in made}:
                self._forget(self._rows.over(tenant, self._most))
        except IndexFailure as error:
            self._behind = True
            _log.error("%d experiences are kept and cannot be found yet: %s", len(made), error)
        return len(made)

    def _search(self, query: Query, vector: Vector) -> list[Recalled]:
        shelf = self._rows.shelf(query.tenant, query.kind)
        if shelf is None or query.limit < 1:
            return []
        now = self._clock()
        look = max(_FIRST_LOOK, 3 * query.limit)
        lexical = self._rows.lexical(shelf, words_of(query.words)[:_MOST_WORDS], look)
        similar = _cosines(self._rows.vectors([number for number, _ in lexical]), vector)
        few = self._rows.few(shelf, query.error, _FEW)
        while True:
            if few is None:
                dense = self._index.nearest(shelf.collection, vector, look)
            else:
                dense = _descending(_cosines(few, vector))
            similar |= dict(dense)
            entries = self._rows.entries(
                shelf, [number for number, score in similar.items() if score >= self._floor], now
            )
            entries = {number: entry for number, entry in entries.items() if _wanted(entry, query)}
            hits = _ranked((_descending(similar), lexical), entries)[: query.limit]
            exhausted = few is not None or len(dense) < look or dense[-1][1] < self._floor or look >= _LAST_LOOK
            if len(hits) == query.limit or exhausted:
                break
            look *= 4
        records = self._rows.records([entry.number for entry, _ in hits])
        return [
            Recalled(
                experience=records[entry.number],
                similarity=max(-1.0, min(1.0, similar[entry.number])),
                rank=rank,
                usage=entry.usage,
            )
            for entry, rank in hits
            if entry.number in records
        ]

    def _forget(self, numbers: Sequence[int]) -> int:
        forgotten = self._rows.delete(numbers, completely=False)
        try:
            self._settle_gone()
        except IndexFailure as error:  # no search returns what has no row
            _log.error("Chroma still holds %d forgotten experiences: %s", forgotten, error)
        return forgotten

    def _purge(self, selection: Selection) -> int:
        tenant = selection.tenant
        touched = {shelf.collection for shelf in self._shelves_of(tenant)}
        forgotten = self._rows.delete(self._rows.select(selection), completely=True)
        self._finish_purge(touched)
        return forgotten

    def _shelves_of(self, tenant: str | None) -> list[Shelf]:
        if tenant is None:
            return self._rows.shelves()
        found = [self._rows.shelf(tenant, kind) for kind in ("solution", "lesson")]
        return [shelf for shelf in found if shelf is not None]

    def _finish_purge(self, touched: Iterable[str]) -> None:
        """Clean the files; what was withdrawn earlier is cleaned with it."""
        self._settle_gone()
        held = {shelf.collection for shelf in self._rows.shelves()}
        self._index.flush([collection for collection in touched if collection in held])
        self._index.sweep()
        self._rows.clean()

    def _settle_gone(self) -> None:
        """Let Chroma forget what was deleted."""
        held = {shelf.collection for shelf in self._rows.shelves()}
        while gone := self._rows.gone(_PAGE):
            for collection in dict.fromkeys(row.collection for row in gone):
                if collection in held:
                    self._index.forget(collection, [row.number for row in gone if row.collection == collection])
                else:
                    self._index.drop(collection)
            self._rows.settled([row.number for row in gone])

    async def _close(self) -> None:
        for threads in (self._readers, self._writer):
            await asyncio.to_thread(threads.shutdown)
        try:
            await asyncio.to_thread(self._opened.close)
        except _FAILURES as error:
            raise self._unavailable(error) from error

    async def _embed(self, texts: Sequence[str]) -> list[Vector]:
        try:
            return await self._embedder.embed(texts) if texts else []
        except EmbedderUnavailable as error:
            raise self._unavailable(error) from error

    async def _read(self, work: Callable[[], Result]) -> Result:
        return await self._on(self._readers, work)

    async def _write(self, work: Callable[[], Result]) -> Result:
        return await self._on(self._writer, work)

    async def _on(self, threads: ThreadPoolExecutor, work: Callable[[], Result]) -> Result:
        try:
            return await asyncio.get_running_loop().run_in_executor(threads, work)
        except _FAILURES as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> StoreUnavailable:
        return StoreUnavailable(f"experience store {self._folder}: {getattr(error, 'orig', None) or error}")


def _cosines(vectors: Mapping[int, Vector], vector: Vector) -> dict[int, float]:
    if not vectors:
        return {}
    table = np.stack(list(vectors.values()))
    cosines = table @ vector / np.maximum(np.linalg.norm(table, axis=1) * np.linalg.norm(vector), 1e-12)
    return dict(zip(vectors, map(float, cosines), strict=True))


def _descending(scores: Mapping[int, float]) -> list[tuple[int, float]]:
    return sorted(scores.items(), key=lambda hit: (-hit[1], hit[0]))


def _wanted(entry: Entry, query: Query) -> bool:
    if query.error is not None and entry.error != query.error:
        return False
    return query.without_problem is None or entry.problem != query.without_problem


def _ranked(searches: Sequence[Sequence[tuple[int, float]]], entries: dict[int, Entry]) -> list[tuple[Entry, float]]:
    """The searches' hits fused, sunk by use that did not help, best first; one of each problem and of each shape."""
    fused: dict[int, float] = defaultdict(float)
    for hits in searches:
        place, last = 0, None
        for number, score in hits:
            if number in entries:
                if last is None or last - score > _SAME_SCORE:
                    place, last = place + 1, score
                fused[number] += 1 / (_FUSION + place)
    ranked = [(entries[number], score * min(1.0, 2 * entries[number].usefulness)) for number, score in fused.items()]
    ranked.sort(key=lambda hit: (-hit[1], hit[0].number))
    kept = []
    seen: set[tuple[str, str]] = set()
    for entry, rank in ranked:
        marks = {("shape", entry.shape), ("problem", entry.problem or str(entry.number))}
        if not marks & seen:
            kept.append((entry, rank))
            seen |= marks
    return kept


def _boot() -> str:
    """Which start of the machine this is: nothing but a start loses what was written and not yet on disk."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _disk_bytes(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(place) / name).stat().st_size
            except FileNotFoundError:  # SQLite and Chroma remove files of theirs at any time
                continue
    return total
