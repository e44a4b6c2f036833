"""What every endpoint does first: find the parts, check the caller, read the body."""

from __future__ import annotations

import json
from collections.abc import Awaitable
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request

from memory.errors import MemoryFailure
from server.admission import tenant_of
from server.errors import ApiError, bad_request, not_ready
from server.parts import Parts

Result = TypeVar("Result")


def parts_of(request: Request) -> Parts:
    """The application's services."""
    parts: Parts = request.app.state.parts
    return parts


def tenant(request: Request) -> str:
    """The caller's tenant id. Raises ApiError 401 or 403."""
    name = tenant_of(request, parts_of(request).settings.http)
    request.state.log["tenant"] = name
    return name


PartsOf = Annotated[Parts, Depends(parts_of)]
Tenant = Annotated[str, Depends(tenant)]


async def json_body(request: Request, limit_mb: float) -> dict[str, Any]:
    """The body as a JSON object. Raises ApiError 413 or 400."""
    limit = int(limit_mb * 1024 * 1024)
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(limit_mb)
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > limit:
            raise _too_large(limit_mb)
    try:
        data = json.loads(bytes(body))
        if b"\\ud" in body.lower():
            json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise bad_request("the body contains half of a surrogate pair, which is no text") from error
    except (ValueError, RecursionError) as error:
        raise bad_request(f"the body is not valid JSON: {error}") from error
    if not isinstance(data, dict):
        raise bad_request(f"the body must be a JSON object, not {type(data).__name__}")
    return data


async def stored(call: Awaitable[Result]) -> Result:
    """What a store answers. Raises ApiError 503 while it fails."""
    try:
        return await call
    except MemoryFailure as error:
        raise not_ready(str(error), 5.0) from error


def _too_large(limit_mb: float) -> ApiError:
    return ApiError(
        413,
        "request_too_large",
        f"the request body is larger than {limit_mb:g} MB; shorten it, or raise BURNISH_HTTP__MAX_BODY_MB",
    )
