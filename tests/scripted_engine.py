"""A small engine of known texts and timing that speaks vLLM's HTTP, and a way to run ASGI apps on real sockets."""

from __future__ import annotations

import asyncio
import json
import math
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

MODEL = "scripted/model"


@dataclass
class ScriptedEngine:
    """Answers every chat with `reply(body, index of the choice)`, word by word."""

    reply: Callable[[dict[str, Any], int], str] = lambda body, index: "Hello there."
    word_s: float = 0.0
    """Pause before each word."""
    stall_s: float = 0.0
    """Pause before the first byte of a chat."""
    context: int = 4096
    fail_status: int | None = None
    ignores_n: bool = False
    cut_after: int | None = None
    """Frames after which a stream breaks off."""
    weights: dict[str, float] = field(default_factory=dict)
    """Probabilities of words as the first token of an answer."""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    running: int = 0
    aborted: int = 0

    def app(self) -> FastAPI:
        """The ASGI application."""
        app = FastAPI()
        app.post("/v1/chat/completions")(self._chat)
        app.get("/v1/models")(self._models)
        app.post("/tokenize")(self._tokenize)
        app.get("/metrics")(self._metrics)
        return app

    async def _models(self) -> dict[str, Any]:
        entry = {"id": MODEL, "object": "model", "owned_by": "vllm", "parent": None, "max_model_len": self.context}
        return {"object": "list", "data": [{**entry, "id": "actor@1", "parent": MODEL}, entry]}

    async def _metrics(self) -> Response:
        return PlainTextResponse("vllm:num_requests_running 0.0\n")

    async def _tokenize(self, request: Request) -> dict[str, Any]:
        body = await request.json()
        if "prompt" in body:
            return {"tokens": [self._id(body["prompt"])], "count": 1}
        return {"count": sum(len(message["content"].split()) for message in body["messages"])}

    async def _chat(self, request: Request) -> Response:
        body = await request.json()
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        if self.fail_status is not None:
            return JSONResponse({"error": {"message": "scripted failure", "code": self.fail_status}}, self.fail_status)
        self.running += 1
        if body.get("stream"):
            return StreamingResponse(self._frames(body), media_type="text/event-stream")
        try:
            await asyncio.sleep(self.stall_s)
            return JSONResponse(self._whole(body))
        finally:
            self.running -= 1

    def _id(self, word: str) -> int:
        return [*self.weights, word].index(word)

    def _whole(self, body: dict[str, Any]) -> dict[str, Any]:
        if "logprob_token_ids" in body:
            told = [
                {"token": f"token_id:{self._id(word)}", "logprob": math.log(weight)}
                for word, weight in self.weights.items()
            ]
            return {
                "choices": [{"index": 0, "logprobs": {"content": [{"top_logprobs": told}]}}],
                "usage": {"prompt_tokens": 5, "completion_tokens": 1},
            }
        text = self.reply(body, 0)
        return {
            "id": "chatcmpl-engine",
            "object": "chat.completion",
            "created": 1,
            "model": body["model"],
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
            "usage": {
                "prompt_tokens": 5,
                "completion_tokens": len(text.split()),
                "total_tokens": 5 + len(text.split()),
            },
        }

    async def _frames(self, body: dict[str, Any]) -> AsyncIterator[str]:
        finished, sent = False, 0
        head = {"id": "chatcmpl-engine", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}

        def frame(choices: list[dict[str, Any]], **more: Any) -> str:
            return f"data: {json.dumps({**head, 'choices': choices, **more})}\n\n"

        try:
            await asyncio.sleep(self.stall_s)
            count = 1 if self.ignores_n else body.get("n") or 1
            texts = [self.reply(body, index) for index in range(count)]
            for index in range(count):
                delta = {"index": index, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
                yield frame([delta], prompt_token_ids=[1, 2, 3, 4, 5])
            words = [text.replace("\n", " \n ").split(" ") for text in texts]
            for position in range(max(map(len, words))):
                await asyncio.sleep(self.word_s)
                for index, own in enumerate(words):
                    if position >= len(own):
                        continue
                    last = position == len(own) - 1
                    piece = own[position] + ("" if last or "\n" in (own[position], own[position + 1]) else " ")
                    sent += 1
                    if self.cut_after is not None and sent > self.cut_after:
                        raise ConnectionResetError
                    yield frame(
                        [
                            {
                                "index": index,
                                "delta": {"content": piece},
                                "logprobs": {"content": [{"token": piece, "logprob": -0.25}]},
                                "token_ids": [position],
                                "finish_reason": "stop" if last else None,
                            }
                        ]
                    )
            total = sum(len(own) for own in words)
            usage = {"prompt_tokens": 5, "completion_tokens": total, "total_tokens": 5 + total}
            yield frame([], usage=usage)
            yield "data: [DONE]\n\n"
            finished = True
        finally:
            self.running -= 1
            self.aborted += not finished


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[str]:
    """Run an ASGI application on a free port of this machine; yields its address."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=1))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        if task.done():
            task.result()
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
        listener.close()
