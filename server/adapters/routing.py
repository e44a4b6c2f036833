"""Which versions answer a request: decided from memory alone, because it happens for every one.

What has begun keeps its versions: they are counted while in use, and `Adapters` unloads none before it is free.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from agent.adapters import Kind, kind_of
from agent.calibration import Calibration
from server.adapters.registry import ROUTABLE, Registry
from server.engine.link import EngineLink
from server.errors import bad_request, not_ready

BASE = "base"
"""The base model, as `burnish.version`."""

_log = logging.getLogger("burnish.adapters")


@dataclass(frozen=True, slots=True)
class Models:
    """What one trajectory is answered with, by the engine's names."""

    actor: str
    critic: str


class Routing:
    """The versions that requests can be sent to."""

    def __init__(self, registry: Registry, link: EngineLink) -> None:
        self.loaded: set[str] = set()
        """In every replica, and proved."""
        self.leaving: set[str] = set()
        """Being let go."""
        self.told_base: str | None = None
        """The base model's name as the engine said it last."""
        self._registry = registry
        self._link = link
        self._uses: Counter[str] = Counter()
        self._freed = asyncio.Event()

    @property
    def base(self) -> str | None:
        """The base model's name; None before the engine has told it."""
        return self.told_base or self._link.base_name

    def choose(self, version: str | None) -> Models:
        """What answers now: the live versions, or the actor that a request names. Raises ApiError 400 or 503."""
        base = self.base
        if base is None:
            raise not_ready("the engine has not told its model yet", 5.0)
        live = self._registry.live()
        actor, critic = live.actor, live.critic
        if version is not None and version not in (BASE, base):
            known = self.routable("actor")
            if version not in known:
                raise bad_request(
                    f"there is no version {version!r}; choose one of: {', '.join([BASE, *known])}",
                    param="burnish.version",
                )
            actor = version
        elif version is not None:
            actor = None
        return Models(
            actor=actor if actor is not None and self.is_routable(actor) else base,
            critic=critic if critic is not None and self.is_routable(critic) else base,
        )

    @contextmanager
    def pinned(self, version: str | None) -> Iterator[Models]:
        """`choose`, and keep what was chosen loaded until the context ends."""
        models = self.choose(version)
        with self.using(models.actor), self.using(models.critic):
            yield models

    @contextmanager
    def using(self, name: str) -> Iterator[None]:
        """Keep a version loaded while the context lasts; any model's name will do."""
        self._uses[name] += 1
        try:
            yield
        finally:
            self._uses[name] -= 1
            self._freed.set()

    def in_use(self, name: str) -> bool:
        """Whether a request that has begun is answered by it."""
        return self._uses[name] > 0

    async def free(self, name: str) -> None:
        """Return when it is not in use any more."""
        while self.in_use(name):
            self._freed.clear()
            await self._freed.wait()

    def calibration(self, critic: str) -> Calibration | None:
        """How what a critic says becomes a probability; None for the base model, and where it was never fitted."""
        adapter = self._registry.adapter(critic) if critic in self.loaded else None
        return adapter.card.calibration if adapter is not None else None

    def is_routable(self, name: str) -> bool:
        """Whether requests may be sent to it: proved, loaded everywhere, and not being let go."""
        if name not in self.loaded or name in self.leaving:
            return False
        entry = self._registry.find(name)
        return entry is not None and entry.state in ROUTABLE

    def routable(self, kind: Kind | None = None) -> list[str]:
        """The versions that requests may name, live ones first."""
        live = self._registry.live()
        names = [name for name in self._registry.names() if self.is_routable(name)]
        names.sort(key=lambda name: name not in (live.actor, live.critic))
        return [name for name in names if kind is None or kind_of(name) == kind]

    def knows(self, name: str) -> bool:
        """Whether it is a version of this data directory."""
        return name in self._registry.names()

    def serves(self, name: str) -> bool:
        """Whether a model that the engine lists may be asked for by its name."""
        return not self.knows(name) or self.is_routable(name)

    def live(self) -> tuple[str, ...]:
        """The live versions that requests are sent to."""
        pointer = self._registry.live()
        return tuple(name for name in (pointer.actor, pointer.critic) if name is not None and self.is_routable(name))

    def lost(self, name: str) -> None:
        """The engine says that it has no such model: it is loaded again soon, and not asked meanwhile."""
        if name in self.loaded:
            _log.error("the engine has lost %s", name)
            self.loaded.discard(name)
