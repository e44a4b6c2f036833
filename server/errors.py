"""Failures that a client sees: one exception, one shape (OpenAI's), one table of kinds.

Every non-2xx answer of the server is `{"error": {"message", "type", "param", "code"}}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil


class ApiError(Exception):
    """An answer that is an error; `message` says what was wrong, the limit, and what to do."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = param
        self.type = (
            "rate_limit_error" if status == 429 else ("server_error" if status >= 500 else "invalid_request_error")
        )
        self.headers = dict(headers or {"x-should-retry": "false"})

    def body(self) -> dict[str, object]:
        """The JSON body."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


def bad_request(message: str, param: str | None = None, code: str = "invalid_value") -> ApiError:
    """400: the request itself is wrong."""
    return ApiError(400, code, message, param=param)


def context_too_long(prompt: int, limit: int) -> ApiError:
    """400: the prompt does not fit."""
    return bad_request(
        f"the prompt has {prompt} tokens and the model's context is {limit} tokens, answer included; shorten the chat",
        param="messages",
        code="context_length_exceeded",
    )


def not_ready(what: str, retry_after_s: float) -> ApiError:
    """503: the engine or the sandbox cannot serve now."""
    return _later("engine_not_ready", what, retry_after_s)


def overloaded(what: str, retry_after_s: float) -> ApiError:
    """503: too much is waiting already."""
    return _later("overloaded", what, retry_after_s)


def _later(code: str, what: str, retry_after_s: float) -> ApiError:
    seconds = min(120, max(1, ceil(retry_after_s)))
    headers = {"retry-after": str(seconds), "retry-after-ms": str(seconds * 1000)}
    return ApiError(503, code, f"{what}; try again in {seconds}s", headers=headers)
