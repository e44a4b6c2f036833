"""The vectors of experiences in Chroma, embedded or on a server. Every call blocks.

Chroma holds numbers and vectors, no text and no metadata: a filter on metadata costs a search through its database,
and what must be kept apart is in collections of its own. Each collection's parameters are chosen here, cosine included
(Chroma's default is the squared Euclidean distance).
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from memory.embed import Vector
from memory.errors import IndexFailure

if TYPE_CHECKING:
    from chromadb.api.client import Client
    from chromadb.api.collection_configuration import CreateCollectionConfiguration
    from chromadb.api.models.Collection import Collection

_SYNC_THRESHOLD = 5_000
_CONFIGURATION: CreateCollectionConfiguration = {
    "hnsw": {
        "space": "cosine",
        "max_neighbors": 32,
        "ef_construction": 200,
        "ef_search": 128,
        "sync_threshold": _SYNC_THRESHOLD,
    }
}
"""Recall@5 on clustered vectors is above 0.95 (tests/bench/memory_scale.py). With Chroma's 16 neighbours a third of
1,200 vectors that are all equally far from each other, as those of one sentence with one word exchanged are, cannot be
reached from the entry of the graph at all; with 32 it is a fifth, at the same speed and 128 bytes more for each.

After `sync_threshold` changes Chroma writes the whole graph, 1.8 GB at a million, and on opening it repeats the changes
since then, a millisecond or two each: 5,000 keeps the one rare and the other short."""
_PAGE = 1_000
_ADDED_AT_ONCE = 64
"""The embedded Chroma keeps Python's lock while it works, some 2 ms for each vector added to a large collection."""
_MARK = "writing"
"""File in Chroma's folder that names a collection."""
_SCRATCH = "0"
"""Rows are numbered from 1."""


class ChromaIndex:
    """Collections of numbered vectors of length 1. May be called from several threads."""

    def __init__(self, connect: Callable[[], Client], dimensions: int, folder: Path | None) -> None:
        self._connect = connect
        self._dimensions = dimensions
        self._folder = folder
        """None where Chroma is a server."""
        self._what = "Chroma" if folder is None else f"Chroma in {folder}"
        self._turns: AbstractContextManager[Any] = nullcontext() if folder is None else RLock()
        """The embedded Chroma works for one thread at a time anyway, and `flush` opens it anew."""
        self._collections: dict[str, Collection] = {}
        self._read: set[str] = set()
        """Collections whose graphs have been read from their files."""
        with self._using():
            self._client = connect()

    @classmethod
    def open(cls, folder: Path, dimensions: int) -> ChromaIndex:
        """Chroma in this process, its files in `folder`. Raises IndexFailure."""

        def connect() -> Client:
            import chromadb
            from chromadb.api.client import Client

            folder.mkdir(parents=True, exist_ok=True)
            try:
                return cast(Client, chromadb.PersistentClient(path=folder, settings=_settings()))
            except Exception:
                Client.clear_system_cache()  # Chroma keeps what could not be opened, and would answer with it
                raise

        return cls(connect, dimensions, folder)

    @classmethod
    def connect(cls, url: str, dimensions: int) -> ChromaIndex:
        """Chroma on a server. Raises IndexFailure."""
        parts = urlsplit(url)
        if parts.hostname is None:
            raise IndexFailure(f"Chroma at {url}: not a URL such as http://chroma:8000")
        host, secure = parts.hostname, parts.scheme == "https"
        port = parts.port or (443 if secure else 8000)

        def connect() -> Client:
            import chromadb
            from chromadb.api.client import Client

            return cast(Client, chromadb.HttpClient(host=host, port=port, ssl=secure, settings=_settings()))

        return cls(connect, dimensions, None)

    @property
    def embedded(self) -> bool:
        """Whether Chroma runs in this process."""
        return self._folder is not None

    def names(self, prefix: str) -> list[str]:
        """The collections whose names begin so."""
        with self._using():
            found: list[str] = []
            while page := self._client.list_collections(limit=_PAGE, offset=len(found)):
                found += [collection.name for collection in page]
            return [name for name in found if name.startswith(prefix)]

    def size(self, name: str) -> int:
        """How many vectors the collection has; 0 if there is none of that name."""
        with self._using():
            return self._collection(name).count()

    def numbers(self, name: str) -> set[int]:
        """All numbers in the collection."""
        with self._using():
            found: set[int] = set()
            while page := self._collection(name).get(include=[], limit=50 * _PAGE, offset=len(found))["ids"]:
                found.update(map(int, page))
            return found

    def put(self, name: str, numbers: Sequence[int], vectors: Sequence[Vector]) -> None:
        """Add vectors; a number that is there already keeps its own."""
        for start in range(0, len(numbers), _ADDED_AT_ONCE):
            ids = [str(number) for number in numbers[start : start + _ADDED_AT_ONCE]]
            with self._using(), self._writing(name):
                self._collection(name).add(ids=ids, embeddings=np.stack(vectors[start : start + _ADDED_AT_ONCE]))

    def nearest(self, name: str, vector: Vector, count: int) -> list[tuple[int, float]]:
        """Numbers and cosines of the nearest vectors, nearest first."""
        with self._using(), nullcontext() if name in self._read else self._writing(name):
            found = self._collection(name).query(
                query_embeddings=vector[np.newaxis], n_results=count, include=["distances"]
            )
            self._read.add(name)
        distances = found["distances"] or [[]]
        return [(int(number), 1.0 - distance) for number, distance in zip(found["ids"][0], distances[0], strict=True)]

    def forget(self, name: str, numbers: Sequence[int]) -> None:
        """Take vectors out. Chroma only marks a deleted vector, so noise is written over it first; its files hold the
        old one until `flush` and `sweep`."""
        for start in range(0, len(numbers), _ADDED_AT_ONCE):
            ids = [str(number) for number in numbers[start : start + _ADDED_AT_ONCE]]
            with self._using(), self._writing(name):
                self._collection(name).upsert(ids=ids, embeddings=self._noise(len(ids)))
                self._collection(name).delete(ids=ids)

    def flush(self, names: Sequence[str]) -> None:
        """Write the graphs of these collections to their files now; a server does that when it chooses. Chroma has no
        call for it, and takes a threshold from the configuration only when it opens a graph."""
        if self._folder is None or not names:
            return
        with self._using():
            for threshold in (2, _SYNC_THRESHOLD):
                for name in names:
                    self._collection(name).modify(configuration={"hnsw": {"sync_threshold": threshold}})
                self._collections.clear()
                self._read.clear()
                self._client.close()
                self._client = self._connect()
                for name in names if threshold == 2 else ():
                    with self._writing(name):
                        self._nudge(self._collection(name))

    def mend(self) -> str | None:
        """Drop, unread, the collection whose graph Chroma was writing when the process was killed, if it was: reading
        a graph that is half old and half new can end the process. The collection's name."""
        if self._folder is None or not (self._folder / _MARK).exists():
            return None
        mark = self._folder / _MARK
        begun = mark.stat().st_mtime_ns
        torn = mark.read_text() if any(file.stat().st_mtime_ns >= begun for file in self._folder.glob("*/*")) else None
        if torn:
            self.drop(torn)
            self.sweep()
        mark.unlink()
        return torn or None

    def drop(self, name: str) -> None:
        """Remove a collection; `sweep` removes its files."""
        with self._using():
            self._collections.pop(name, None)
            if name in self.names(name):
                self._client.delete_collection(name)

    def sweep(self) -> None:
        """Remove what Chroma leaves behind: files of dropped collections, and deleted rows in its database, which it
        does not zero. On a server this is its operator's task (`chroma vacuum`)."""
        if self._folder is None:
            return
        with self._using():
            with closing(
                sqlite3.connect(self._folder / "chroma.sqlite3", timeout=30, isolation_level=None)
            ) as database:
                used = {segment for (segment,) in database.execute("SELECT id FROM segments")}
                database.execute("VACUUM")
            for place in self._folder.iterdir():
                if place.is_dir() and place.name not in used:
                    shutil.rmtree(place)

    def close(self) -> None:
        """Close files and connections."""
        with self._using():
            self._collections.clear()
            self._client.close()
            if self._folder is None:
                both = cast(Any, self._client)
                for part in (both, both._admin_client):  # Chroma leaves their HTTP connections open
                    part._server._session.close()

    @contextmanager
    def _writing(self, name: str) -> Iterator[None]:
        """Leave a mark while Chroma may be writing a graph, see `mend`."""
        if self._folder is None:
            yield
            return
        mark = self._folder / _MARK
        mark.write_text(name)
        yield
        mark.unlink(missing_ok=True)

    def _nudge(self, collection: Collection) -> None:
        """Open the collection's graph and make changes that leave nothing behind."""
        for _ in range(2):
            collection.query(query_embeddings=self._noise(1), n_results=1)
            collection.upsert(ids=[_SCRATCH], embeddings=self._noise(1))
            collection.delete(ids=[_SCRATCH])

    def _noise(self, count: int) -> npt.NDArray[np.float32]:
        return np.random.default_rng().normal(size=(count, self._dimensions)).astype(np.float32)

    def _collection(self, name: str) -> Collection:
        found = self._collections.get(name)
        if found is None:
            found = self._client.get_or_create_collection(name, configuration=_CONFIGURATION, embedding_function=None)
            self._collections[name] = found
        return found

    @contextmanager
    def _using(self) -> Iterator[None]:
        """The boundary to Chroma: whatever it raises is IndexFailure, a panic of its Rust core included."""
        try:
            with self._turns:
                yield
        except IndexFailure:
            raise
        except Exception as error:
            raise IndexFailure(f"{self._what}: {error or type(error).__name__}") from error
        except BaseException as error:
            if type(error).__name__ == "PanicException":
                raise IndexFailure(f"{self._what}: {error}") from error
            raise


def _settings() -> Any:
    from chromadb.config import Settings

    return Settings(anonymized_telemetry=False)
