"""Requests that are not refined: the engine's bytes, relayed as they come."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import Any

import httpx
from fastapi import Request, Response
from fastapi.responses import JSONResponse

from agent.errors import EngineUnavailable
from server import stream
from server.disconnect import LiveStream
from server.errors import ApiError, bad_request, not_ready
from server.parts import Parts
from server.schemas.chat import ChatRequest

_OURS = ("burnish",)
_PROGRESS = ("reasoning_content", "reasoning")


async def pass_through(request: Request, parts: Parts, chat: ChatRequest, body: dict[str, Any]) -> Response:
    """Send `body` to the engine and relay what comes back. Raises ApiError: 400 for `prompt_logprobs`, of which vLLM
    0.32 on a CPU dies (server/adapters/probe.py), and what the engine refuses.

    Under the base model's own name nothing is changed; under `burnish` the answer names `burnish`, and progress that
    came back with the history is dropped.
    """
    if body.get("prompt_logprobs") is not None:
        raise bad_request("prompt_logprobs is not served; some engines die of it", param="prompt_logprobs")
    renamed = chat.model if chat.model != body["model"] else None
    sent = {key: value for key, value in body.items() if key not in _OURS}
    if renamed is not None:
        sent["messages"] = [
            {key: value for key, value in message.items() if key not in _PROGRESS} for message in body["messages"]
        ]
    opened = AsyncExitStack()
    try:
        opened.enter_context(parts.routing.using(body["model"]))
        response = await opened.enter_async_context(parts.link.client.forward("/v1/chat/completions", sent))
        if response.status_code >= 400:
            raise _engine_error(response.status_code, (await response.aread()).decode(errors="replace"))
        if not chat.stream:
            answer: dict[str, Any] = json.loads(await response.aread())
            await opened.aclose()
            return JSONResponse({**answer, "model": renamed} if renamed else answer)
    except (EngineUnavailable, httpx.HTTPError, ValueError) as error:
        await opened.aclose()
        raise not_ready(f"the engine failed: {error}", 5.0) from error
    except BaseException:
        await opened.aclose()
        raise
    return LiveStream(_relay(response, renamed), stream.MEDIA_TYPE, stream.HEADERS, opened)


async def _relay(response: httpx.Response, renamed: str | None) -> AsyncGenerator[bytes]:
    """The engine's frames; a stream that breaks ends with one error frame and `[DONE]`."""
    try:
        if renamed is None:
            async for piece in response.aiter_bytes():
                yield piece
        else:
            async for line in response.aiter_lines():
                if line.startswith("data:"):
                    yield _renamed(line[5:].strip(), renamed)
    except httpx.HTTPError as error:
        broken = ApiError(502, "engine_failed", f"the engine cut the stream: {type(error).__name__}")
        yield stream.frame(broken.body())
        yield stream.DONE


def _renamed(data: str, model: str) -> bytes:
    if data == "[DONE]":
        return stream.DONE
    chunk = json.loads(data)
    if "model" in chunk:
        chunk["model"] = model
    return stream.frame(chunk)


def _engine_error(status: int, text: str) -> ApiError:
    """The engine's refusal in our shape."""
    try:
        inner = json.loads(text)
        inner = inner.get("error", inner)
        message = str(inner.get("message", text))
    except (ValueError, AttributeError):
        message = text[:500]
    if status >= 500:
        return not_ready(f"the engine failed: {message}", 5.0)
    if "context length" in message or "maximum model length" in message:
        return bad_request(message, param="messages", code="context_length_exceeded")
    return ApiError(status if status in (400, 404, 413, 429) else 400, "invalid_value", message)
