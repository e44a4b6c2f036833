"""`GET /v1/models`: `burnish` first, then the base model, then adapters. Answers while the engine loads."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from fastapi import APIRouter

from agent.errors import EngineUnavailable
from server.api.chat import REFINED_MODEL
from server.api.common import PartsOf, Tenant
from server.errors import ApiError
from server.parts import Parts

router = APIRouter()
_STARTED = int(time.time())


@router.get("/v1/models")
async def list_models(parts: PartsOf, tenant: Tenant) -> dict[str, Any]:
    """Every model this server answers for."""
    entries = await _entries(parts)
    return {
        "object": "list",
        "data": entries,
        "has_more": False,
        "first_id": entries[0]["id"],
        "last_id": entries[-1]["id"],
    }


@router.get("/v1/models/{name:path}")
async def get_model(name: str, parts: PartsOf, tenant: Tenant) -> dict[str, Any]:
    """One model."""
    entries = await _entries(parts)
    for entry in entries:
        if entry["id"] == name:
            return entry
    known = ", ".join(entry["id"] for entry in entries)
    raise ApiError(404, "model_not_found", f"there is no model {name!r}; choose one of: {known}", param="model")


async def _entries(parts: Parts) -> list[dict[str, Any]]:
    link = parts.link
    with contextlib.suppress(EngineUnavailable):
        await link.look()
    base = link.base_name
    context = link.listed[0].context_length if link.listed else None
    names = [model.name for model in link.listed if parts.routing.serves(model.name)] or ([base] if base else [])
    live = parts.routing.live()
    names.sort(key=lambda name: (name != base, name not in live))
    return [_entry(REFINED_MODEL, base, context)] + [
        _entry(name, None if name == base else base, context) for name in names
    ]


def _entry(name: str, parent: str | None, context: int | None) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": _STARTED,
        "owned_by": "burnish",
        "root": parent or name,
        "parent": parent,
        "max_model_len": context,
        "context_length": context,
        "type": "model",
        "display_name": name,
        "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(_STARTED)),
    }
