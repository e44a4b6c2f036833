"""Work that ends when its client goes away: queued, before the first frame, between frames, or without any stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Mapping
from contextlib import AsyncExitStack, aclosing
from typing import Any, TypeVar

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

Result = TypeVar("Result")


async def unless_disconnected(receive: Receive, work: Coroutine[Any, Any, Result]) -> Result | None:
    """The work's result; None, with the work cancelled and ended, if the client leaves first.

    Call it when the request body has been read: what `receive` gives after that is the disconnect.
    """

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


class LiveStream(StreamingResponse):
    """A streamed response whose source is closed the moment its client leaves, not at the next frame."""

    def __init__(
        self,
        frames: AsyncGenerator[bytes],
        media_type: str,
        headers: Mapping[str, str],
        opened: AsyncExitStack | None = None,
    ) -> None:
        """`opened` is closed at the end, also if no frame was ever asked for."""
        super().__init__(frames, media_type=media_type, headers=headers)
        self._frames = frames
        self._opened = opened or AsyncExitStack()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the frames."""
        async with self._opened, aclosing(self._frames):
            await unless_disconnected(receive, self.stream_response(send))
