"""`POST /tokenize`: how the engine's tokenizer cuts a prompt or a chat; `burnish` stands for the base model."""

from __future__ import annotations

from typing import Any

import httpx
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from server.api.chat import REFINED_MODEL
from server.api.common import PartsOf, Tenant, json_body
from server.errors import ApiError, not_ready

router = APIRouter()


@router.post("/tokenize")
async def tokenize(request: Request, parts: PartsOf, tenant: Tenant) -> Response:
    """What the engine says; every version has the base model's tokenizer."""
    body: dict[str, Any] = await json_body(request, parts.settings.http.max_body_mb)
    base = await parts.link.base()
    if not base.vllm:
        raise ApiError(404, "not_found", "the engine is not vLLM and does not tell how it cuts text into tokens")
    if body.get("model") in (None, REFINED_MODEL) or parts.routing.knows(str(body["model"])):
        body = {**body, "model": base.name}
    try:
        response = await parts.link.client.http.post("/tokenize", json=body, timeout=30.0)
        return JSONResponse(response.json(), response.status_code)
    except (httpx.HTTPError, ValueError) as error:
        raise not_ready(f"the engine failed: {type(error).__name__}", 5.0) from error
