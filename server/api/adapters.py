"""Versions over HTTP: which there are, load and prove one, make it live, roll back."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Literal, TypeVar

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from agent.errors import AdapterError
from agent.evaluation import GateReport, GateResult
from memory.wire import to_plain
from server.adapters.registry import Entry
from server.api.common import PartsOf, Tenant, json_body
from server.errors import not_ready
from server.parts import Parts
from server.schemas.validation import parse

router = APIRouter(prefix="/burnish/adapters")

Result = TypeVar("Result")


class GateResultRequest(BaseModel):
    """One problem, asked of both."""

    model_config = ConfigDict(extra="forbid", strict=True)

    problem: str
    against: bool
    candidate: bool


class PromoteRequest(BaseModel):
    """The gate's report, or `force`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    force: bool = False
    candidate: str = ""
    against: str = ""
    results: list[GateResultRequest] = Field(default=[], max_length=100_000)
    problems: str = ""
    measured: Literal["solved", "ranked"] = "solved"
    left_out: list[str] = []

    def report(self) -> GateReport | None:
        """The report; None if there is none."""
        if not self.candidate and not self.results:
            return None
        return GateReport(
            candidate=self.candidate,
            against=self.against,
            results=tuple(GateResult(**result.model_dump()) for result in self.results),
            problems=self.problems,
            measured=self.measured,
            left_out=tuple(self.left_out),
        )


class RollbackRequest(BaseModel):
    """What is to be rolled back."""

    model_config = ConfigDict(extra="forbid", strict=True)

    kind: Literal["actor", "critic"] = "actor"


@router.get("")
async def list_adapters(parts: PartsOf, tenant: Tenant) -> dict[str, Any]:
    """Every version on disk, and what is live."""
    entries = parts.adapters.registry.entries()
    return {"object": "list", "data": [_entry(parts, entry) for entry in entries], **_live(parts)}


@router.post("/rollback")
async def rollback(request: Request, parts: PartsOf, tenant: Tenant) -> dict[str, Any]:
    """Go back to what was live before."""
    asked = parse(RollbackRequest, await json_body(request, parts.settings.http.max_body_mb))
    went, came = await _done(parts.adapters.rollback(asked.kind))
    return {"rolled_back": went, "now": came or parts.link.base_name, **_live(parts)}


@router.post("/{name}/load")
async def load(name: str, parts: PartsOf, tenant: Tenant) -> dict[str, Any]:
    """Load a version into the engine and prove that the engine answers with it."""
    return _entry(parts, await _done(parts.adapters.load(name)))


@router.post("/{name}/promote")
async def promote(name: str, request: Request, parts: PartsOf, tenant: Tenant) -> dict[str, Any]:
    """Make a proved version live, if the gate allows."""
    asked = parse(PromoteRequest, await json_body(request, parts.settings.http.max_body_mb))
    return _entry(parts, await _done(parts.adapters.promote(name, asked.report(), force=asked.force)))


async def _done(work: Awaitable[Result]) -> Result:
    """What the versions' keeper answers. Raises ApiError 503 while the disk takes nothing."""
    try:
        return await work
    except AdapterError as error:
        raise not_ready(str(error), 30.0) from error


def _live(parts: Parts) -> dict[str, Any]:
    live = parts.adapters.registry.live()
    return {"base": parts.link.base_name, "live": {"actor": live.actor, "critic": live.critic}}


def _entry(parts: Parts, entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.adapter.name,
        "kind": entry.adapter.kind,
        "state": entry.state,
        "reason": entry.mark.reason,
        "changed": entry.mark.changed,
        "loaded": parts.routing.is_routable(entry.adapter.name),
        "card": to_plain(entry.adapter.card),
        "gate": entry.mark.gate,
        "proof": entry.mark.proof,
        "folder": str(entry.adapter.folder),
    }
