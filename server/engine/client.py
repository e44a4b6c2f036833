"""The engine's HTTP side for everything that is not a candidate: health, models, metrics and pass-through bytes.

The connection pool is shared with `agent.policy.EnginePolicy`. The engine never sees a client's key.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from agent.errors import EngineUnavailable

_TIMEOUT = httpx.Timeout(connect=5.0, read=None, write=30.0, pool=None)
"""Reading has no limit of its own: a request's deadline and the client's patience bound it."""
_QUICK = httpx.Timeout(3.0)


@dataclass(frozen=True, slots=True)
class EngineModel:
    """The base model as the engine lists it."""

    name: str
    context_length: int | None
    vllm: bool
    """The engine is vLLM: token ids, tokenisation and every sampling parameter are available."""


class EngineClient:
    """One engine behind one URL."""

    def __init__(self, url: str, api_key: str | None = None, transport: httpx.AsyncBaseTransport | None = None) -> None:
        base = url.rstrip("/").removesuffix("/v1")
        headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
        self.url = base
        self.http = httpx.AsyncClient(
            base_url=base, headers=headers, timeout=_TIMEOUT, limits=limits, transport=transport, trust_env=False
        )

    async def models(self) -> list[EngineModel]:
        """What the engine serves, base models first. Raises EngineUnavailable."""
        entries = (await self._json("/v1/models")).get("data") or []
        listed = [
            EngineModel(
                name=entry["id"],
                context_length=entry.get("max_model_len") or (entry.get("meta") or {}).get("n_ctx_train"),
                vllm=entry.get("owned_by") == "vllm",
            )
            for entry in sorted(entries, key=lambda entry: entry.get("parent") is not None)
        ]
        if not listed:
            raise EngineUnavailable(f"the engine at {self.url} lists no model")
        return listed

    async def adapters(self) -> dict[str, str]:
        """The adapters it holds, with the folder of each. Raises EngineUnavailable."""
        entries = (await self._json("/v1/models")).get("data") or []
        return {entry["id"]: str(entry.get("root")) for entry in entries if entry.get("parent") is not None}

    async def metrics(self) -> str:
        """The engine's Prometheus text; empty if it has none or does not answer."""
        try:
            response = await self.http.get("/metrics", timeout=_QUICK)
        except httpx.HTTPError:
            return ""
        return response.text if response.status_code == 200 else ""

    @asynccontextmanager
    async def forward(self, path: str, body: dict[str, Any]) -> AsyncIterator[httpx.Response]:
        """POST `body`; the response is open for reading. Leaving the context aborts the engine's work.

        Raises EngineUnavailable if the engine cannot be reached.
        """
        request = self.http.build_request("POST", path, json=body)
        try:
            response = await self.http.send(request, stream=True)
        except httpx.HTTPError as error:
            raise EngineUnavailable(f"the engine at {self.url} does not answer: {type(error).__name__}") from error
        try:
            yield response
        finally:
            await response.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self.http.aclose()

    async def _json(self, path: str) -> dict[str, Any]:
        try:
            response = await self.http.get(path, timeout=_QUICK)
            response.raise_for_status()
            answer: dict[str, Any] = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise EngineUnavailable(f"the engine at {self.url} does not answer: {type(error).__name__}") from error
        return answer
