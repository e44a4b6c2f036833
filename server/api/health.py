"""Probes and metrics: `/health`, `/ready`, `/version`, `/metrics`, and 200 on `/` for connection checks."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from agent.errors import EngineUnavailable
from memory.errors import StoreUnavailable
from server.api.common import PartsOf

router = APIRouter()


@router.api_route("/", methods=["GET", "HEAD"])
@router.get("/health")
async def health() -> dict[str, str]:
    """The process lives; nothing else is asked."""
    return {"status": "ok"}


@router.get("/ready")
async def ready(parts: PartsOf) -> JSONResponse:
    """200 when engine, sandbox and store work; else 503 naming what does not."""
    failing: dict[str, str] = {}
    if parts.stopping:
        failing["server"] = "shutting down"
    if parts.sandbox is None:
        failing["sandbox"] = "; ".join(parts.missing)
    try:
        await parts.link.look()
    except EngineUnavailable as error:
        failing["engine"] = str(error)
    try:
        await parts.store.check()
    except StoreUnavailable as error:
        failing["store"] = str(error)
    isolation = parts.sandbox.isolation.tier if parts.sandbox else "none"
    body = {"ready": not failing, "failing": failing, "isolation": isolation}
    return JSONResponse(body, 503 if failing else 200, {"retry-after": "5"} if failing else None)


@router.get("/version")
async def versions(parts: PartsOf) -> dict[str, Any]:
    """Server, API, model and its live versions."""
    return {"server": version("burnish"), "api": "v1", "model": parts.link.base_name, "live": parts.routing.live()}


@router.get("/metrics")
async def metrics(parts: PartsOf) -> Response:
    """Our metrics, then the engine's own, unchanged."""
    return PlainTextResponse(parts.metrics.text() + await parts.link.client.metrics())
