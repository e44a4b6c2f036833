"""The vectors of experiences in Chroma, embedded or on a server. Every call blocks.

Chroma holds numbers and vectors, no text and no metadata: a filter on metadata costs a search through its database,
and what must be kept apart is in collections of its own. Each collection's parameters are chosen here, cosine included
(Chroma's default is the squared Euclidean distance).
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
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

_SYNC_SHARE = 32
_SYNC_LEAST = 1_000
"""Chroma writes the whole graph to disk after so many changes and repeats the changes since then on opening. A
thirty-second of the collection keeps both in bounds: 1.7 GB once in 16,384 changes at a million."""
_CONFIGURATION: CreateCollectionConfiguration = {
    "hnsw": {
        "space": "cosine",
        "max_neighbors": 16,
        "ef_construction": 128,
        "ef_search": 128,
        "sync_threshold": _SYNC_LEAST,
    }
}
_PAGE = 1_000
_SCRATCH = "0"
"""Rows are numbered from 1."""


class ChromaIndex:
    """Collections of numbered vectors of length 1."""

    def __init__(self, client: Client, dimensions: int, folder: Path | None) -> None:
        self._client = client
        self._dimensions = dimensions
        self._folder = folder
        """None where Chroma is a server."""
        self._collections: dict[str, Collection] = {}
        self._thresholds: dict[str, int] = {}

    @classmethod
    def open(cls, folder: Path, dimensions: int) -> ChromaIndex:
        """Chroma in this process, its files in `folder`. Raises IndexFailure."""
        with _failures(f"Chroma in {folder}"):
            import chromadb

            folder.mkdir(parents=True, exist_ok=True)
            client = chromadb.PersistentClient(path=folder, settings=_settings())
            return cls(cast("Client", client), dimensions, folder)

    @classmethod
    def connect(cls, url: str, dimensions: int) -> ChromaIndex:
        """Chroma on a server. Raises IndexFailure."""
        with _failures(f"Chroma at {url}"):
            import chromadb

            parts = urlsplit(url)
            if parts.hostname is None:
                raise IndexFailure(f"Chroma at {url}: not a URL such as http://chroma:8000")
            secure = parts.scheme == "https"
            port = parts.port or (443 if secure else 8000)
            client = chromadb.HttpClient(host=parts.hostname, port=port, ssl=secure, settings=_settings())
            return cls(cast("Client", client), dimensions, None)

    def names(self, prefix: str) -> list[str]:
        """The collections whose names begin so."""
        with _failures("Chroma"):
            found: list[str] = []
            while page := self._client.list_collections(limit=_PAGE, offset=len(found)):
                found += [collection.name for collection in page]
            return [name for name in found if name.startswith(prefix)]

    def size(self, name: str) -> int:
        """How many vectors the collection has; 0 if there is none of that name."""
        with _failures("Chroma"):
            return self._collection(name).count()

    def numbers(self, name: str) -> set[int]:
        """All numbers in the collection."""
        with _failures("Chroma"):
            found: set[int] = set()
            while page := self._collection(name).get(include=[], limit=50 * _PAGE, offset=len(found))["ids"]:
                found.update(map(int, page))
            return found

    def put(self, name: str, numbers: Sequence[int], vectors: Sequence[Vector]) -> None:
        """Add vectors; a number that is there already keeps its own."""
        with _failures("Chroma"):
            collection = self._collection(name)
            for start in range(0, len(numbers), _PAGE):
                ids = [str(number) for number in numbers[start : start + _PAGE]]
                collection.add(ids=ids, embeddings=np.stack(vectors[start : start + _PAGE]))
            self._pace(name)

    def nearest(self, name: str, vector: Vector, count: int) -> list[tuple[int, float]]:
        """Numbers and cosines of the nearest vectors, nearest first."""
        with _failures("Chroma"):
            found = self._collection(name).query(
                query_embeddings=[vector.tolist()], n_results=count, include=["distances"]
            )
        distances = found["distances"] or [[]]
        return [(int(number), 1.0 - distance) for number, distance in zip(found["ids"][0], distances[0], strict=True)]

    def forget(self, name: str, numbers: Sequence[int]) -> None:
        """Take vectors out. Chroma only marks a deleted vector, so noise is written over it first; its files hold the
        old one until `flush` and `sweep`."""
        with _failures("Chroma"):
            for start in range(0, len(numbers), _PAGE):
                ids = [str(number) for number in numbers[start : start + _PAGE]]
                self._collection(name).upsert(ids=ids, embeddings=self._noise(len(ids)))
                self._collection(name).delete(ids=ids)

    def flush(self, name: str) -> None:
        """Write the collection's graph to its files now."""
        with _failures("Chroma"):
            collection = self._collection(name)
            collection.modify(configuration={"hnsw": {"sync_threshold": 2}})
            self._thresholds.pop(name, None)
            for _ in range(2):  # changes are what makes Chroma write
                collection.upsert(ids=[_SCRATCH], embeddings=self._noise(1))
                collection.delete(ids=[_SCRATCH])
            self._pace(name)

    def drop(self, name: str) -> None:
        """Remove a collection; `sweep` removes its files."""
        self._collections.pop(name, None)
        self._thresholds.pop(name, None)
        with _failures("Chroma"):
            if name in self.names(name):
                self._client.delete_collection(name)

    def sweep(self) -> None:
        """Remove what Chroma leaves behind: files of dropped collections, and deleted rows in its database, which it
        does not zero. On a server this is its operator's task (`chroma vacuum`)."""
        if self._folder is None:
            return
        with _failures(f"Chroma in {self._folder}"):
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
        with _failures("Chroma"):
            self._collections.clear()
            self._client.close()

    def _noise(self, count: int) -> npt.NDArray[np.float32]:
        return np.random.default_rng().normal(size=(count, self._dimensions)).astype(np.float32)

    def _collection(self, name: str) -> Collection:
        found = self._collections.get(name)
        if found is None:
            found = self._client.get_or_create_collection(name, configuration=_CONFIGURATION, embedding_function=None)
            self._collections[name] = found
        return found

    def _pace(self, name: str) -> None:
        """Let the collection's sync threshold grow with it."""
        collection = self._collection(name)
        wanted = max(_SYNC_LEAST, (1 << collection.count().bit_length() >> 1) // _SYNC_SHARE)
        if self._thresholds.get(name) != wanted:
            collection.modify(configuration={"hnsw": {"sync_threshold": wanted}})
            self._thresholds[name] = wanted


def _settings() -> Any:
    from chromadb.config import Settings

    return Settings(anonymized_telemetry=False)


@contextmanager
def _failures(what: str) -> Iterator[None]:
    """The boundary to Chroma: whatever it raises is IndexFailure, a panic of its Rust core included."""
    try:
        yield
    except IndexFailure:
        raise
    except Exception as error:
        raise IndexFailure(f"{what}: {error or type(error).__name__}") from error
    except BaseException as error:
        if type(error).__name__ == "PanicException":
            raise IndexFailure(f"{what}: {error}") from error
        raise
