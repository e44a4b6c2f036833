"""The engine as the request path sees it: ready or not, and its base model; started by Burnish or running elsewhere."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

from agent.errors import EngineUnavailable
from server.engine.client import EngineClient, EngineModel
from server.errors import ApiError, not_ready

_WAIT_S = 10.0
"""An engine that becomes ready within this time is waited for; a longer wait is a 503."""
_POLL_S = 0.25


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the engine can take requests now."""

    ready: bool
    detail: str = ""
    """What it is doing instead, for a person."""
    retry_after_s: float = 5.0


class Supervisor(Protocol):
    """What tells whether the engine should be up: the managed process; an external engine has none."""

    def readiness(self) -> Readiness:
        """The state now."""
        ...


class EngineLink:
    """The engine's client plus what is known about its state."""

    def __init__(self, client: EngineClient, name: str | None, supervisor: Supervisor | None = None) -> None:
        self.client = client
        self._name = name
        self._supervisor = supervisor
        self._models: list[EngineModel] = []

    @property
    def base_name(self) -> str | None:
        """The base model's own name, as far as it is known without asking."""
        return self._models[0].name if self._models else self._name

    @property
    def listed(self) -> list[EngineModel]:
        """The models at the last successful look."""
        return self._models

    @property
    def is_vllm(self) -> bool:
        """Whether the engine said it is vLLM."""
        return bool(self._models) and self._models[0].vllm

    async def look(self) -> list[EngineModel]:
        """Ask the engine what it serves. Raises EngineUnavailable."""
        if self._supervisor is not None and not (state := self._supervisor.readiness()).ready:
            raise EngineUnavailable(state.detail)
        self._models = await self.client.models()
        return self._models

    async def base(self) -> EngineModel:
        """The base model of an engine that is ready, waiting a little for it. Raises ApiError 503."""
        waited = 0.0
        while True:
            state = self._supervisor.readiness() if self._supervisor is not None else Readiness(True)
            if state.ready:
                try:
                    return (self._models or await self.look())[0]
                except EngineUnavailable as error:
                    state = Readiness(False, str(error))
            if waited >= _WAIT_S or state.retry_after_s > _WAIT_S:
                raise self._not_ready(state)
            await asyncio.sleep(_POLL_S)
            waited += _POLL_S

    def _not_ready(self, state: Readiness) -> ApiError:
        return not_ready(f"the engine is not ready: {state.detail}", state.retry_after_s)
