"""Burnish's own endpoints: execute a program, look at trajectories, say what became of an answer."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from memory.trajectories import Feedback
from memory.wire import to_plain
from server.api.common import PartsOf, Tenant, json_body, stored
from server.disconnect import unless_disconnected
from server.errors import ApiError, overloaded
from server.schemas.completion import verdict_wire
from server.schemas.execute import parse_execute
from server.schemas.validation import parse

router = APIRouter(prefix="/burnish")

_BUSY_SECONDS = 2.0


class FeedbackRequest(BaseModel):
    """What the user did with an answer."""

    model_config = ConfigDict(extra="forbid", strict=True)

    trajectory_id: str = Field(min_length=1)
    accepted: bool
    comment: str | None = Field(default=None, max_length=10_000)


@router.post("/execute")
async def execute(request: Request, parts: PartsOf, tenant: Tenant) -> dict[str, Any]:
    """One program and its tests → a verdict."""
    asked = parse_execute(await json_body(request, parts.settings.http.max_body_mb))
    sandbox = parts.need_sandbox()
    if sandbox.waiting >= parts.settings.sandbox.queue:
        raise overloaded(f"{sandbox.waiting} programs wait for the sandbox", _BUSY_SECONDS)
    verdict = await unless_disconnected(request.receive, asked.run(sandbox, f"execute for {tenant}"))
    if verdict is None:
        return {}
    parts.metrics.sandbox_runs.labels(verdict.outcome).inc()
    return verdict_wire(verdict, details=asked.details)


@router.get("/trajectories")
async def trajectories(
    parts: PartsOf,
    tenant: Tenant,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    before: Annotated[float | None, Query(description="Unix time; pass the last `started` to page on")] = None,
) -> dict[str, Any]:
    """The caller's newest trajectories, one line each."""
    found = await stored(parts.store.newest(limit, before, tenant))
    return {"object": "list", "data": [asdict(summary) for summary in found], "has_more": len(found) == limit}


@router.get("/trajectories/{trajectory_id}")
async def trajectory(trajectory_id: str, parts: PartsOf, tenant: Tenant) -> dict[str, Any]:
    """One trajectory with every attempt and its feedback."""
    found = await stored(parts.store.get(trajectory_id, tenant))
    if found is None:
        raise _unknown(trajectory_id)
    said = await stored(parts.store.feedback(trajectory_id))
    return {**to_plain(found), "feedback": [asdict(feedback) for feedback in said]}


@router.post("/feedback")
async def feedback(request: Request, parts: PartsOf, tenant: Tenant) -> dict[str, Any]:
    """Keep whether the user took the answer; a rejected one is not remembered."""
    said = parse(FeedbackRequest, await json_body(request, parts.settings.http.max_body_mb))
    kept = Feedback(accepted=said.accepted, comment=said.comment, time=time.time())
    if not await stored(parts.store.add_feedback(said.trajectory_id, kept, tenant)):
        raise _unknown(said.trajectory_id)
    if not said.accepted and parts.memory is not None:
        await stored(parts.memory.learning.withdraw(said.trajectory_id, tenant))
    return {"trajectory_id": said.trajectory_id, "accepted": said.accepted}


def _unknown(trajectory_id: str) -> ApiError:
    return ApiError(404, "not_found", f"there is no trajectory {trajectory_id!r}", param="trajectory_id")
