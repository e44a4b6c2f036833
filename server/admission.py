"""Who may call: API keys and, without keys, the origins of web pages."""

from __future__ import annotations

import hashlib
import hmac

from starlette.requests import Request

from server.errors import ApiError
from server.settings import HttpSettings

LOCAL = "local"
"""Tenant of every request while the server has no keys."""


def tenant_of(request: Request, settings: HttpSettings) -> str:
    """The id of the key's owner. Raises ApiError 401 or 403."""
    if not settings.api_keys:
        origin = request.headers.get("origin")
        if origin is not None and origin not in settings.allowed_origins:
            raise ApiError(
                403,
                "origin_not_allowed",
                "web pages may not call this server while it has no API keys; "
                "set BURNISH_HTTP__API_KEYS, or list the origin in BURNISH_HTTP__ALLOWED_ORIGINS",
            )
        return LOCAL
    for sent in _sent_keys(request):
        for key in settings.api_keys:
            if hmac.compare_digest(sent.encode(), key.get_secret_value().encode()):
                return "key-" + hashlib.sha256(sent.encode()).hexdigest()[:16]
    raise ApiError(
        401,
        "invalid_api_key",
        "the API key is missing or wrong; send `Authorization: Bearer KEY` with one of the server's keys",
    )


def _sent_keys(request: Request) -> list[str]:
    headers = request.headers
    bearer = headers.get("authorization", "")
    keys = [bearer[7:].strip()] if bearer.lower().startswith("bearer ") else []
    return keys + [headers[name] for name in ("api-key", "x-api-key") if name in headers]
