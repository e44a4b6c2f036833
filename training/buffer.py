"""The samples that online training draws from (RLTF, arXiv 2307.04349, section 3.2): first in, first out.

The paper's buffer has no rule for age; here samples that are too many versions old leave it too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import Field

from agent.settings import Frozen
from training.sample import TokenSample
from training.versions import version_number


class BufferSettings(Frozen):
    """How much is kept, and for how long."""

    capacity: int = Field(default=6400, ge=1)
    """Samples."""
    max_lag: int = Field(default=4, ge=0)
    """Versions that a sample may be older than the policy that is trained."""


@dataclass(frozen=True, slots=True)
class Buffer:
    """A window over the samples, oldest first; adding to it makes a new one."""

    base: str
    """The base model's name: version 0."""
    settings: BufferSettings
    samples: tuple[TokenSample, ...] = ()

    @property
    def full(self) -> bool:
        """Whether the next sample pushes one out."""
        return len(self.samples) >= self.settings.capacity

    def add(self, fresh: Iterable[TokenSample], current: int) -> Buffer:
        """With `fresh` at the end; the oldest beyond the capacity are gone, and those too old for version `current`.

        A sample whose id is there already is not added again; one of an unknown version never is.
        """
        known: dict[str, TokenSample] = {}
        for sample in (*self.samples, *fresh):
            if self._is_young(sample, current):
                known.setdefault(sample.id, sample)
        kept = list(known.values())[-self.settings.capacity :]
        return Buffer(self.base, self.settings, tuple(kept))

    def _is_young(self, sample: TokenSample, current: int) -> bool:
        number = version_number(sample.policy_version, self.base)
        return number is not None and current - number <= self.settings.max_lag
