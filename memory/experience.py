"""Long-term memory: what can be kept, how it is asked for, and the protocol of the stores."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from memory.records import Experience


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is looked for among one tenant's experiences of one kind."""

    tenant: str
    kind: Literal["solution", "lesson"]
    text: str
    """Compared by meaning: the gist of a task, or error, message and blamed lines."""
    words: tuple[str, ...] = ()
    """Compared literally: identifiers."""
    error: str | None = None
    """Only lessons about this error."""
    limit: int = 8
    without_problem: str | None = None
    """Fingerprint of a problem whose experiences are left out: benchmarks must not meet their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """How often an experience stood in a prompt, and how often the answer was then verified."""

    shown: int = 0
    helped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalled:
    """One hit."""

    experience: Experience
    similarity: float
    """Cosine between the query's text and the experience's, -1 to 1."""
    rank: float
    """By which hits are ordered: both searches fused, then sunk by usage that did not help."""
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which experiences are meant; every condition that is given must hold. Without any: all."""

    tenant: str | None = None
    trajectory_id: str | None = None
    ids: tuple[str, ...] | None = None
    since: float | None = None
    """Unix time, inclusive."""
    until: float | None = None
    """Unix time, exclusive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """What a store holds."""

    solutions: int
    lessons: int
    tenants: int
    shown: int
    helped: int
    disk_bytes: int
    model: str
    """Embedding model."""


class ExperienceStore(Protocol):
    """Keeps experiences. Every method raises StoreUnavailable when it cannot."""

    async def add(self, experiences: Sequence[Experience]) -> int:
        """Keep them durably; the number of new ones. One with the id, or with the tenant, kind, problem and normalised
        program (of lessons: fix) of a kept one is the same and changes nothing."""

    async def near(self, query: Query) -> Sequence[Recalled]:
        """The best hits, best first; none below the similarity floor."""

    async def credit(self, ids: Sequence[str], *, helped: bool) -> None:
        """Note that these experiences stood in a prompt, and whether the answer was verified."""

    async def withdraw(self, selection: Selection) -> int:
        """Never return these again; the number withdrawn. Quick: traces stay in the files until the next purge."""

    async def purge(self, selection: Selection) -> int:
        """Forget completely, texts and vectors; the number forgotten."""

    def every(self, selection: Selection) -> AsyncIterator[Experience]:
        """The selected experiences, oldest first."""

    async def stats(self, tenant: str | None = None) -> Stats:
        """Counts, of one tenant or of all; sizes of the whole store."""

    async def aclose(self) -> None:
        """Close the files and connections."""
