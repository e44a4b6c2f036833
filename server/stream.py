"""Server-sent events of a chat completion: what each frame holds, and bytes in time while a refinement works."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any

from server.errors import ApiError
from server.refine import Answer
from server.schemas.chat import ChatRequest
from server.schemas.completion import burnish_field, usage

HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}
MEDIA_TYPE = "text/event-stream; charset=utf-8"
DONE = b"data: [DONE]\n\n"

_SILENCE_S = 9.0
"""Longest pause between frames; proxies and clients give up after 10 s and more."""
_PIECE = 512
"""Characters of answer in one frame."""

Work = Callable[[Callable[[str], None]], Awaitable[Answer]]
"""Starts a refinement that reports progress lines to its argument."""


def frame(data: dict[str, Any]) -> bytes:
    """One event as one line of compact JSON."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return f"data: {text}\n\n".encode()


async def refined(chat: ChatRequest, completion_id: str, work: Work) -> AsyncGenerator[bytes]:
    """All frames of a refined stream. Closing the iterator cancels the refinement."""
    created = int(time.time())

    def chunk(choices: list[dict[str, Any]], **more: Any) -> bytes:
        base = {"id": completion_id, "object": "chat.completion.chunk", "created": created, "model": chat.model}
        return frame({**base, "choices": choices, **more})

    def delta(index: int, content: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {"index": index, "delta": content, "finish_reason": finish}

    for index in range(chat.n):
        yield chunk([delta(index, {"role": "assistant", "content": ""})])
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    task = asyncio.ensure_future(work(lines.put_nowait))
    task.add_done_callback(lambda _: lines.put_nowait(None))
    try:
        async for line in _with_heartbeat(lines):
            yield chunk([delta(0, {"reasoning_content": line, "reasoning": line})])
        answer = await task
    except ApiError as error:
        yield frame(error.body())
        yield DONE
        return
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, ApiError):
            await task
    for index, choice in enumerate(answer.choices):
        text = choice.text or "The model gave an empty answer."
        for start in range(0, len(text), _PIECE):
            yield chunk([delta(index, {"content": text[start : start + _PIECE]})])
    last = {"burnish": burnish_field(answer, trace=chat.options.trace)}
    with_usage = chat.stream_options.include_usage
    for index, choice in enumerate(answer.choices):
        closes = index == len(answer.choices) - 1 and not with_usage
        yield chunk([delta(index, {}, choice.finish_reason)], **(last if closes else {}))
    if with_usage:
        yield chunk([], usage=usage(answer), **last)
    yield DONE


async def _with_heartbeat(lines: asyncio.Queue[str | None]) -> AsyncIterator[str]:
    """The progress lines up to None; in a silence, the seconds that have passed."""
    started = time.monotonic()
    while True:
        try:
            async with asyncio.timeout(_SILENCE_S):
                line = await lines.get()
        except TimeoutError:
            line = f"working, {time.monotonic() - started:.0f} s so far"
        if line is None:
            return
        yield f"{line}\n"
