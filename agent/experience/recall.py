"""What long-term memory has to say about a task or a failure, within a time and token limit.

Memory never fails an answer: a store that is slow or down recalls nothing, which is logged.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from agent.experience.failure import failure
from agent.experience.gist import gist
from agent.settings import MemorySettings
from memory.errors import MemoryFailure
from memory.experience import ExperienceStore, Query, Recalled
from memory.records import Attempt, Experience, Problem
from memory.words import failure_text

_CHARS_PER_TOKEN = 3
"""Of code; a low guess, so that the token limit holds."""
_log = logging.getLogger("burnish.memory")


@dataclass(frozen=True, slots=True)
class Recall:
    """One tenant's view of the store."""

    store: ExperienceStore
    tenant: str
    settings: MemorySettings

    async def solutions(self, problem: Problem) -> tuple[Recalled, ...]:
        """Verified programs of similar tasks, best first."""
        text = gist(problem)
        return await self._near(
            Query(tenant=self.tenant, kind="solution", text=text, words=(text, problem.entry_point or ""))
        )

    async def lessons(self, attempt: Attempt) -> tuple[Recalled, ...]:
        """How similar failures were overcome, best first; none for an attempt that did not fail."""
        failed = failure(attempt)
        if failed is None:
            return ()
        query = Query(
            tenant=self.tenant,
            kind="lesson",
            text=failure_text(failed.kind, failed.message, failed.blamed),
            words=(failed.blamed,),
            error=failed.kind,
        )
        return await self._near(query)

    def fitting(self, recalled: Sequence[Recalled]) -> tuple[Experience, ...]:
        """The first hits that fit into a prompt's share; one that is too long is passed over."""
        left = self.settings.tokens * _CHARS_PER_TOKEN
        chosen: list[Experience] = []
        for hit in recalled:
            experience = hit.experience
            length = len(experience.gist) + len(experience.fix or experience.code)
            if length <= left and len(chosen) < self.settings.shown:
                chosen.append(experience)
                left -= length
        return tuple(chosen)

    async def _near(self, query: Query) -> tuple[Recalled, ...]:
        try:
            async with asyncio.timeout(self.settings.patience_s):
                return tuple(await self.store.near(query))
        except (MemoryFailure, TimeoutError) as error:
            _log.warning("nothing recalled: %s", str(error) or f"no answer within {self.settings.patience_s:g} s")
            return ()
