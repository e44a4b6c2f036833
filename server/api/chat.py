"""`POST /v1/chat/completions`: refined for the model `burnish`, passed through for every other."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from agent import task
from server import stream
from server.api.common import PartsOf, Tenant, json_body
from server.api.passthrough import pass_through
from server.disconnect import LiveStream, unless_disconnected
from server.errors import ApiError, bad_request
from server.parts import Parts
from server.refine import Answer
from server.schemas.chat import ChatRequest, parse_chat
from server.schemas.completion import completion

router = APIRouter()

REFINED_MODEL = "burnish"
_SHORT_ANSWER = 128
"""An answer limit this small asks for a title or a tag, not a program."""


@router.post("/v1/chat/completions")
async def chat_completions(request: Request, parts: PartsOf, tenant: Tenant) -> Response:
    """One chat completion, streamed or not."""
    body = await json_body(request, parts.settings.http.max_body_mb)
    chat = parse_chat(body)
    base = await parts.link.base()
    served = await _served_model(chat, base.name, parts)
    refine, reason = _route(chat)
    request.state.log |= {"mode": "refined" if refine else "pass_through", "reason": reason, "stream": chat.stream}
    with parts.metrics.inflight.labels(request.state.log["mode"]).track_inprogress():
        if not refine:
            return await pass_through(request, parts, chat, {**body, "model": served})
        refiner = parts.need_refiner()
        prepared = await refiner.prepare(chat, served, base.context_length, _stated_timeout(request))

    async def work(tell: Callable[[str], None]) -> Answer:
        with parts.metrics.inflight.labels("refined").track_inprogress():
            answer = await refiner.run(prepared, tenant, tell, version=chat.options.version)
        request.state.log |= _log_fields(answer)
        return answer

    completion_id = f"chatcmpl-{uuid.uuid4().hex}"
    if chat.stream:
        frames = stream.refined(chat, completion_id, work)
        return LiveStream(frames, stream.MEDIA_TYPE, stream.HEADERS)
    answer = await unless_disconnected(request.receive, work(lambda line: None))
    if answer is None:
        return Response(status_code=204)
    headers = {"x-burnish-verdict": answer.verdict, "x-burnish-trajectory": answer.trajectory_id}
    return JSONResponse(completion(answer, completion_id, chat.model, trace=chat.options.trace), headers=headers)


async def _served_model(chat: ChatRequest, base: str, parts: Parts) -> str:
    """The engine's name for the requested model; what is refined chooses its version when it begins. Raises ApiError:
    404 that lists the models, 400 that lists the versions."""
    name, version = chat.model, chat.options.version
    if name == REFINED_MODEL:
        return base if version is None else parts.routing.choose(version).actor
    if version is not None:
        raise bad_request(f"burnish.version goes with the model {REFINED_MODEL!r}", param="burnish.version")
    names = _names(parts)
    if name not in names:
        await parts.link.look()
        names = _names(parts)
    if name not in names:
        known = ", ".join([REFINED_MODEL, *names])
        raise ApiError(404, "model_not_found", f"there is no model {name!r}; choose one of: {known}", param="model")
    return name


def _names(parts: Parts) -> list[str]:
    """The engine's models, without versions that are not proved or are being let go."""
    return [model.name for model in parts.link.listed if parts.routing.serves(model.name)]


def _route(chat: ChatRequest) -> tuple[bool, str]:
    """Whether to refine, and why; the first rule that matches wins (product contract: "When to refine")."""
    options = chat.options
    if chat.model != REFINED_MODEL:
        return False, "model"
    if not options.refine:
        return False, "burnish.refine is false"
    if chat.tools or chat.functions or chat.messages[-1].role in ("tool", "function"):
        return False, "tools"
    if (chat.response_format or {}).get("type") in ("json_object", "json_schema"):
        return False, "response_format"
    if options.tests:
        return True, "tests in the request"
    if chat.answer_limit is not None and chat.answer_limit <= _SHORT_ANSWER:
        return False, "short answer limit"
    if not any(message.role == "user" for message in chat.messages):
        return False, "no user message"
    decision = task.route(chat.chat())
    return decision.refine, decision.reason


def _stated_timeout(request: Request) -> float | None:
    for name in ("x-stainless-read-timeout", "x-stainless-timeout"):
        value = request.headers.get(name)
        if value is not None:
            try:
                seconds = float(value)
            except ValueError as error:
                raise bad_request(f"the header {name} must be a number of seconds, not {value!r}") from error
            if seconds > 0:
                return seconds
    return None


def _log_fields(answer: Answer) -> dict[str, Any]:
    totals = answer.totals
    return {
        "trajectory": answer.trajectory_id,
        "verdict": answer.verdict,
        "tests_source": str(answer.tests.source),
        "candidates": answer.candidates,
        "rounds": answer.rounds,
        "model_version": answer.model_version,
        "tokens": totals.prompt_tokens + totals.completion_tokens,
        "engine": round(totals.engine_seconds, 4),
        "sandbox": round(totals.sandbox_seconds, 4),
        "overhead": round(totals.overhead_seconds, 4),
    }
