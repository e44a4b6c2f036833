"""The answer of `POST /v1/chat/completions`: the completion object and its field `burnish`."""

from __future__ import annotations

import time
from typing import Any

from memory.records import Verdict
from memory.wire import to_plain
from server.refine import Answer


def completion(answer: Answer, completion_id: str, model: str, *, trace: bool) -> dict[str, Any]:
    """The whole non-streamed object."""
    return {
        "id": completion_id,
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [
            {
                "index": index,
                "message": {"role": "assistant", "content": choice.text or "The model gave an empty answer."},
                "logprobs": None,
                "finish_reason": choice.finish_reason,
            }
            for index, choice in enumerate(answer.choices)
        ],
        "usage": usage(answer),
        "burnish": burnish_field(answer, trace=trace),
    }


def usage(answer: Answer) -> dict[str, Any]:
    """Tokens of the returned answer; the cost of all candidates stands in `burnish.tokens`."""
    prompt = answer.choices[0].prompt_tokens
    completion_tokens = sum(choice.completion_tokens for choice in answer.choices)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt + completion_tokens,
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def burnish_field(answer: Answer, *, trace: bool) -> dict[str, Any]:
    """The answer field `burnish` of product.md."""
    totals = answer.totals
    field: dict[str, Any] = {
        "verdict": answer.verdict,
        "tests": {"source": answer.tests.source, "passed": answer.tests.passed, "total": answer.tests.total},
        "candidates": answer.candidates,
        "rounds": answer.rounds,
        "model_version": answer.model_version,
        "tokens": {"prompt": totals.prompt_tokens, "completion": totals.completion_tokens},
        "seconds": {
            "total": round(totals.total_seconds, 4),
            "engine": round(totals.engine_seconds, 4),
            "sandbox": round(totals.sandbox_seconds, 4),
            "critic": round(totals.critic_seconds, 4),
            "memory": round(totals.memory_seconds, 4),
            "overhead": round(totals.overhead_seconds, 4),
        },
        "trajectory_id": answer.trajectory_id,
    }
    if trace:
        field["attempts"] = [to_plain(attempt) for attempt in answer.attempts]
    return field


def verdict_wire(verdict: Verdict, *, details: bool = False) -> dict[str, Any]:
    """A verdict as it is answered: optional keys are left out where they say nothing. `details` adds the executed
    statements, the time and the executed lines of each case, the variables at the error and the comparator's
    version."""
    plain: dict[str, Any] = to_plain(verdict)
    for case in plain["cases"]:
        for key in ("expected", "actual", "message"):
            if case[key] is None:
                del case[key]
    for key, unsaid in (("flaky", False), ("integrity", "isolated")):
        if plain[key] == unsaid:
            del plain[key]
    if details:
        if plain["error"] is not None:
            plain["error"]["variables"] = dict(plain["error"]["variables"])
        return plain
    del plain["executed"], plain["comparator"]
    for case in plain["cases"]:
        del case["seconds"], case["executed_lines"]
    if plain["error"] is not None:
        del plain["error"]["variables"]
    return plain
