"""The runtimes of the languages, and the workers whose jails show their toolchains: made when first asked for."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from agent.errors import IsolationUnavailable
from agent.sandbox.crew import Crew
from agent.sandbox.native import toolchain
from agent.sandbox.native.cpp import Cpp
from agent.sandbox.native.javascript import JavaScript
from agent.sandbox.native.language import Language
from agent.sandbox.native.runtime import Runtime
from agent.sandbox.native.toolchain import Toolchain
from agent.sandbox.native.typescript import TypeScript
from agent.settings import SandboxSettings

_RUNTIMES: dict[Language, Callable[[Toolchain], Runtime]] = {
    Language.JAVASCRIPT: JavaScript,
    Language.TYPESCRIPT: TypeScript,
    Language.CPP: Cpp,
}


class Runtimes:
    """Belongs to one event loop; ended by `aclose`."""

    def __init__(self, settings: SandboxSettings, tier: str) -> None:
        self._settings = settings
        self._tier = tier
        self._crews: dict[tuple[str, ...], Crew] = {}
        self._found: dict[Language, Toolchain] = {}
        self._starting = asyncio.Lock()

    @property
    def waiting(self) -> int:
        """Runs that wait for a worker."""
        return sum(crew.waiting for crew in self._crews.values())

    async def of(self, language: Language) -> tuple[Runtime, Crew]:
        """A runtime for one run in `language`, which must not be Python, and its workers. Raises NoToolchain,
        IsolationUnavailable."""
        if self._tier != "A":
            raise IsolationUnavailable((f"programs in {language} are only run in isolation tier A, not in tier B",))
        async with self._starting:
            if language not in self._found:
                self._found[language] = await asyncio.to_thread(toolchain.find, language, self._settings)
            found = self._found[language]
            if found.tools not in self._crews:
                count = self._settings.workers or os.cpu_count() or 1
                crew = await Crew.start(count, self._tier, starts_processes=True, tools=found.tools)
                self._crews[found.tools] = crew
        return _RUNTIMES[language](found), self._crews[found.tools]

    async def aclose(self) -> None:
        """End the workers."""
        async with self._starting:
            await asyncio.gather(*(crew.aclose() for crew in self._crews.values()))
