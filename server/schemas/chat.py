"""`POST /v1/chat/completions`: the request as clients send it. Unknown fields are kept, `burnish` is strict."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from server.errors import bad_request
from server.schemas.validation import parse

_IGNORED_PARTS = frozenset({"text", "input_text", "output_text", "refusal", "thinking", "reasoning"})


def _without_nulls(data: object) -> object:
    """`null` means absent for every optional field."""
    return {key: value for key, value in data.items() if value is not None} if isinstance(data, dict) else data


DropNulls = model_validator(mode="before")(_without_nulls)


class BurnishOptions(BaseModel):
    """The request field `burnish`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    _nulls = DropNulls

    tests: str | list[dict[str, Any]] | None = None
    entry_point: str | None = None
    max_candidates: int | None = Field(default=None, ge=1)
    max_rounds: int | None = Field(default=None, ge=0)
    deadline_s: float | None = Field(default=None, gt=0)
    refine: bool = True
    version: str | None = None
    memory: bool | None = None
    critic: bool | None = None
    repair: bool | None = None
    prefix_seeds: bool | None = None
    generated_tests: bool | None = None
    trace: bool = False


class ChatMessage(BaseModel):
    """One turn; content is a string, a list of parts, or absent beside tool calls."""

    model_config = ConfigDict(extra="allow", frozen=True)

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[dict[str, Any]] | None = None

    def text(self, place: str) -> str:
        """The turn as text. Raises ApiError for images, audio and other parts that a text model cannot read."""
        if self.content is None:
            return ""
        if isinstance(self.content, str):
            return self.content
        texts = []
        for index, part in enumerate(self.content):
            kind = part.get("type", "text")
            if kind not in _IGNORED_PARTS:
                raise bad_request(
                    f"the model reads text only; remove the part of type {kind!r}",
                    param=f"{place}.content[{index}]",
                    code="unsupported_content",
                )
            if kind in ("text", "input_text", "output_text"):
                texts.append(str(part.get("text", "")))
        return "".join(texts)


class StreamOptions(BaseModel):
    """How a stream reports."""

    model_config = ConfigDict(extra="allow", frozen=True)
    _nulls = DropNulls

    include_usage: bool = False


class ChatRequest(BaseModel):
    """The body of a chat completion request."""

    model_config = ConfigDict(extra="allow", frozen=True)
    _nulls = DropNulls

    model: str
    messages: list[ChatMessage] = Field(min_length=1)
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    n: int = Field(default=1, ge=1, le=64)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: int | None = None
    max_tokens: int | None = Field(default=None, ge=0)
    max_completion_tokens: int | None = Field(default=None, ge=0)
    stop: str | list[str] | None = None
    tools: list[Any] | None = None
    functions: list[Any] | None = None
    response_format: dict[str, Any] | None = None
    burnish: BurnishOptions | None = None

    @property
    def options(self) -> BurnishOptions:
        """The `burnish` object, or its defaults."""
        return self.burnish or BurnishOptions()

    @property
    def answer_limit(self) -> int | None:
        """Tokens the answer may have; 0 counts as absent."""
        return self.max_completion_tokens or self.max_tokens or None

    def chat(self) -> tuple[dict[str, str], ...]:
        """The turns as role and text; `developer` is `system`."""
        return tuple(
            {
                "role": "system" if message.role == "developer" else message.role,
                "content": message.text(f"messages[{index}]"),
            }
            for index, message in enumerate(self.messages)
        )


def parse_chat(body: object) -> ChatRequest:
    """Validate a decoded body. Raises ApiError 400 that names the field."""
    return parse(ChatRequest, body, known_keys=list(BurnishOptions.model_fields))
