"""The engine's replicas as holders of adapters: every version is loaded into each of them, or counts as not loaded.

vLLM's endpoints for this read any folder they are told to, so they are reached from here only, never through us.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from agent.adapters import Adapter
from agent.errors import EngineUnavailable
from server.engine.client import EngineClient
from server.errors import ApiError

_LOAD_S = 120.0
"""An adapter of real size on a slow disk, behind a long step of the engine."""


class Replicas:
    """The engines that answer, as one."""

    def __init__(self, clients: Sequence[EngineClient]) -> None:
        self.clients = tuple(clients)

    async def load(self, adapter: Adapter) -> None:
        """Have every replica hold it; one that holds it already, from the same folder, is content.

        Raises EngineUnavailable, or ApiError 409 if a replica has no runtime adapters, holds another folder under this
        name or refuses it.
        """
        await asyncio.gather(*(_load(client, adapter) for client in self.clients))

    async def unload(self, name: str) -> None:
        """Have every replica drop it, and see that it did. Raises EngineUnavailable, or ApiError 409."""
        await asyncio.gather(*(_unload(client, name) for client in self.clients))

    async def holding(self) -> dict[str, str]:
        """The adapters that every replica lists, with their folders. Raises EngineUnavailable."""
        listings = await asyncio.gather(*(client.adapters() for client in self.clients))
        first, *others = listings
        return {name: root for name, root in first.items() if all(other.get(name) == root for other in others)}


async def _load(client: EngineClient, adapter: Adapter) -> None:
    folder = str(adapter.folder.resolve())
    body = {"lora_name": adapter.name, "lora_path": folder}
    response = await _post(client, "/v1/load_lora_adapter", body)
    if response.status_code == 200:
        return
    held = (await client.adapters()).get(adapter.name)
    if held is not None and Path(held) == Path(folder):
        return
    if held is not None:
        raise _refused(f"the engine at {client.url} holds another folder as {adapter.name}: {held}; restart the engine")
    raise _refused(f"the engine at {client.url} does not load {adapter.name}: {_reason(response)}")


async def _unload(client: EngineClient, name: str) -> None:
    response = await _post(client, "/v1/unload_lora_adapter", {"lora_name": name})
    if name in await client.adapters():
        raise _refused(f"the engine at {client.url} still lists {name}: {_reason(response)}")


async def _post(client: EngineClient, path: str, body: dict[str, Any]) -> httpx.Response:
    try:
        response = await client.http.post(path, json=body, timeout=_LOAD_S)
    except httpx.HTTPError as error:
        raise EngineUnavailable(f"the engine at {client.url} does not answer: {type(error).__name__}") from error
    if response.status_code in (404, 405) and "lora" not in response.text.lower():
        raise unsupported(f"the engine at {client.url} has no {path}")
    if response.status_code == 503:
        raise EngineUnavailable(f"the engine at {client.url} is not ready")
    return response


def unsupported(found: str) -> ApiError:
    """409: this engine takes no adapters."""
    return ApiError(
        409,
        "adapters_unsupported",
        f"adapters need vLLM, started with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1, as `burnish serve` "
        f"starts it; {found}",
    )


def _refused(message: str) -> ApiError:
    return ApiError(409, "adapter_not_loaded", message)


def _reason(response: httpx.Response) -> str:
    try:
        body = response.json()
        return str((body.get("error") or body)["message"])[:500]
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{response.status_code} {response.text[:300]}"
