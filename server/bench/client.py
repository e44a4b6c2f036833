"""The benchmark's view of a server: which models it lists, and one chat completion at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import perf_counter
from types import TracebackType
from typing import Any

import httpx

REFINED_MODEL = "burnish"
PATIENCE_S = 1800.0
"""How long one question waits in all for a server that answers "later" (503 or 429 with Retry-After)."""
GRACE_S = 60.0
"""How much longer than the deadline an answer may take before the connection counts as dead."""


class ServerError(Exception):
    """The server did not answer a question: refused, broken off, or an HTTP error other than "later"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One request. Only the statement travels; hidden tests have no place here."""

    model: str
    statement: str
    seed: int
    max_tokens: int
    options: Mapping[str, Any] | None
    """The request field `burnish`; None asks for a plain completion."""

    def body(self) -> dict[str, Any]:
        """The chat completion request."""
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "user", "content": self.statement}],
            "temperature": 0,
            "max_tokens": self.max_tokens,
            "seed": self.seed,
        }
        if self.options is not None:
            body["burnish"] = dict(self.options)
        return body


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer and its cost."""

    text: str
    finish_reason: str
    seconds: float
    """From sending the request that was answered to its last byte; waiting for a busy server is not in it."""
    prompt_tokens: int
    completion_tokens: int
    """As `usage` has them: of the returned answer."""
    burnish: dict[str, Any] = field(default_factory=dict)
    """The answer's own `burnish` object; empty for a plain completion."""


class BenchClient:
    """HTTP connection to the server under test; an async context manager."""

    def __init__(self, url: str, *, api_key: str | None, timeout_s: float, concurrency: int) -> None:
        base = url.rstrip("/").removesuffix("/v1")
        self._http = httpx.AsyncClient(
            base_url=base,
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=httpx.Timeout(timeout_s + GRACE_S, connect=10.0, pool=None),
            limits=httpx.Limits(max_connections=concurrency + 2, max_keepalive_connections=concurrency),
        )

    async def __aenter__(self) -> BenchClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def models(self) -> list[dict[str, Any]]:
        """Entries of `GET /v1/models`. Raises ServerError."""
        data = _json(await self._get("/v1/models")).get("data")
        if not isinstance(data, list) or not all(isinstance(entry, dict) and "id" in entry for entry in data):
            raise ServerError(f"{self._http.base_url} does not list models as the OpenAI API does")
        return data

    async def version(self) -> dict[str, Any]:
        """What `GET /version` says; empty if the server has no such page."""
        try:
            return _json(await self._get("/version"))
        except ServerError:
            return {}

    async def ask(self, question: Question) -> Reply:
        """The answer to one question; waits while the server says "later". Raises ServerError."""
        waited = 0.0
        while True:
            started = perf_counter()
            try:
                response = await self._http.post("/v1/chat/completions", json=question.body())
            except httpx.HTTPError as error:
                raise ServerError(f"{type(error).__name__}: {error}") from error
            pause = _retry_after(response)
            if pause is None or waited + pause > PATIENCE_S:
                return _reply(response, perf_counter() - started)
            await asyncio.sleep(pause)
            waited += pause

    async def _get(self, path: str) -> httpx.Response:
        try:
            return await self._http.get(path, timeout=10.0)
        except httpx.HTTPError as error:
            raise ServerError(f"no server answers at {self._http.base_url} ({type(error).__name__})") from error


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds to wait if the server is busy and says so, else None."""
    if response.status_code not in (429, 503):
        return None
    value = response.headers.get("retry-after", "")
    return float(value) if value.isdecimal() else None


def _json(response: httpx.Response) -> dict[str, Any]:
    if response.status_code != 200:
        raise ServerError(f"{response.request.url.path} answered HTTP {response.status_code}: {response.text[:300]}")
    try:
        body = response.json()
    except ValueError as error:
        raise ServerError(f"{response.request.url.path} did not answer JSON") from error
    if not isinstance(body, dict):
        raise ServerError(f"{response.request.url.path} did not answer a JSON object")
    return body


def _reply(response: httpx.Response, seconds: float) -> Reply:
    body = _json(response)
    usage, burnish = body.get("usage") or {}, body.get("burnish") or {}
    try:
        choice = body["choices"][0]
        return Reply(
            text=choice["message"]["content"] or "",
            finish_reason=choice.get("finish_reason") or "",
            seconds=seconds,
            prompt_tokens=int(usage.get("prompt_tokens", 0)),
            completion_tokens=int(usage.get("completion_tokens", 0)),
            burnish=burnish,
        )
    except (KeyError, IndexError, TypeError) as error:
        raise ServerError(f"the answer is no chat completion: {response.text[:300]}") from error
