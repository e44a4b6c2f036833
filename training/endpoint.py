"""The engine, or the Burnish server over one, that answers are asked of."""

from __future__ import annotations

import httpx

from agent.errors import EngineRefused, EngineUnavailable
from training.errors import BadData

REFINED_MODEL = "burnish"
"""A Burnish server's name for the refinement loop, which is not a policy."""
_READ_S = 600.0
"""Silence of an engine after which the connection counts as dead."""


def connected(url: str, api_key: str | None = None) -> httpx.AsyncClient:
    """A connection pool to an engine or a Burnish server."""
    return httpx.AsyncClient(
        base_url=url.rstrip("/").removesuffix("/v1"),
        headers={"authorization": f"Bearer {api_key}"} if api_key else {},
        timeout=httpx.Timeout(connect=10.0, read=_READ_S, write=30.0, pool=None),
        limits=httpx.Limits(max_connections=None),
        trust_env=False,
    )


async def named(http: httpx.AsyncClient, model: str | None) -> str:
    """The model version to be asked: the given one if it is served, else the base model's name.

    Raises EngineUnavailable, EngineRefused, or BadData with the names that are served.
    """
    try:
        response = await http.get("/v1/models", timeout=30.0)
        if response.status_code >= 400:
            raise EngineRefused(response.status_code, response.text)
        names = [str(entry["id"]) for entry in response.json()["data"] if entry["id"] != REFINED_MODEL]
        bases = [str(entry["id"]) for entry in response.json()["data"] if entry.get("parent") is None]
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        raise EngineUnavailable(
            f"no engine answers at {http.base_url} ({type(error).__name__}); start one with `burnish serve`"
        ) from error
    found = model or next(iter(bases), None)
    if found not in names:
        raise BadData(f"{http.base_url} serves no policy named {found!r}; choose one of: {', '.join(names) or 'none'}")
    return found
