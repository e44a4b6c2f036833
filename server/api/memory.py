"""The caller's own memory over HTTP: counts, search, export, import, purge."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict

from memory.experience import Selection
from memory.wire import to_json, to_plain
from server.api.common import PartsOf, Tenant, json_body, stored
from server.errors import ApiError
from server.memories import Memories
from server.parts import Parts
from server.schemas.validation import parse

router = APIRouter(prefix="/burnish/memory")


class ImportRequest(BaseModel):
    """Lines to import."""

    model_config = ConfigDict(extra="forbid", strict=True)

    lines: list[str]
    """JSON texts: exported experiences, or objects with `task`, `code` and `tests`."""
    trust: bool = False
    """Whether programs without tests are taken."""


class PurgeRequest(BaseModel):
    """What is to be forgotten of the caller's memory; without any condition all of it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    trajectory_id: str | None = None
    since: float | None = None
    until: float | None = None


@router.get("")
async def stats(parts: PartsOf, tenant: Tenant) -> dict[str, Any]:
    """Counts and sizes."""
    return asdict(await stored(_memories(parts).stats(tenant)))


@router.get("/search")
async def search(
    parts: PartsOf,
    tenant: Tenant,
    q: Annotated[str, Query(min_length=1, description="A task, or for lessons an error")],
    kind: Literal["solution", "lesson"] = "solution",
    limit: Annotated[int, Query(ge=1, le=100)] = 8,
) -> dict[str, Any]:
    """What a request with this text would be reminded of."""
    found = await stored(_memories(parts).search(tenant, q, kind, limit))
    return {"object": "list", "data": [to_plain(hit) for hit in found]}


@router.get("/export")
async def export(parts: PartsOf, tenant: Tenant) -> StreamingResponse:
    """Everything remembered for the caller, as JSON lines."""
    kept = _memories(parts).exported(Selection(tenant=tenant))

    async def lines() -> AsyncIterator[str]:
        async for experience in kept:
            yield f"{to_json(experience)}\n"

    return StreamingResponse(lines(), media_type="application/jsonl")


@router.post("/import")
async def import_(request: Request, parts: PartsOf, tenant: Tenant) -> dict[str, Any]:
    """Remember what the caller brings."""
    memories = _memories(parts)
    asked = parse(ImportRequest, await json_body(request, parts.settings.http.max_body_mb))
    return asdict(await stored(memories.add(tenant, asked.lines, time.time(), trust=asked.trust)))


@router.post("/purge")
async def purge(request: Request, parts: PartsOf, tenant: Tenant) -> dict[str, Any]:
    """Forget the caller's memory, or a part of it, completely."""
    memories = _memories(parts)
    asked = parse(PurgeRequest, await json_body(request, parts.settings.http.max_body_mb))
    selection = replace(Selection(**asked.model_dump()), tenant=tenant)
    return asdict(await stored(memories.purge(selection)))


def _memories(parts: Parts) -> Memories:
    if parts.memories is None:
        raise ApiError(503, "memory_unavailable", f"this server remembers nothing: {parts.forgetful}")
    return parts.memories
