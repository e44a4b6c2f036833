"""The policy: the served model as a sampler of programs, reached over an OpenAI-compatible HTTP API."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import httpx

from agent.errors import EngineRefused, EngineUnavailable
from agent.extract import extract
from agent.task import Message
from memory.records import Candidate, Sampling


class Meter(Protocol):
    """Counts what a call costs, for whoever asked."""

    def spend(self, prompt: int, completion: int) -> None:
        """Count tokens as they are used, also those of candidates that are never finished."""

    async def settled(self) -> None:
        """Return when the candidates yielded so far are dealt with."""


class Policy(Protocol):
    """A versioned model that answers chats."""

    @property
    def continues(self) -> bool:
        """Whether `sample` can be given the beginning of the answers."""

    def sample(
        self,
        messages: Sequence[Message],
        n: int,
        sampling: Sampling,
        meter: Meter,
        *,
        prefix: str = "",
        entry_point: str | None = None,
    ) -> AsyncGenerator[Candidate]:
        """Sample `n` answers in one request, with the seeds from `sampling.seed` on; each is yielded as soon as it is
        complete and carries its own.

        With `prefix` every answer begins with this text, which the model continues. Closing the iterator aborts the
        others in the engine. Raises EngineUnavailable (also after some candidates) or EngineRefused.
        """
        ...

    async def weigh(
        self, messages: Sequence[Message], words: Sequence[str], model: str, meter: Meter
    ) -> tuple[float, ...] | None:
        """Probability that the answer begins with each of `words`, of which no two begin with the same token; together
        they are 1. None if the engine does not tell. Raises EngineUnavailable."""
        ...

    async def count_tokens(self, messages: Sequence[Message], model: str) -> int | None:
        """Length of the prompt in tokens, or None if the engine cannot tell. Raises EngineUnavailable."""
        ...


@dataclass(slots=True)
class _Partial:
    """One choice while its chunks arrive."""

    prefix: str
    text: list[str] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    tokens: int = 0


class EnginePolicy:
    """`Policy` over an engine's `/v1/chat/completions`.

    vLLM reports token ids and takes every sampling parameter. Other engines (`is_vllm` says no) are sent plain OpenAI
    fields only, and asked again for the answers that an engine ignoring `n` leaves out.
    """

    def __init__(self, http: httpx.AsyncClient, is_vllm: Callable[[], bool]) -> None:
        self._http = http
        self._is_vllm = is_vllm
        self._ids: dict[tuple[str, str], int] = {}

    @property
    def continues(self) -> bool:
        """See Policy.continues."""
        return self._is_vllm()

    async def sample(
        self,
        messages: Sequence[Message],
        n: int,
        sampling: Sampling,
        meter: Meter,
        *,
        prefix: str = "",
        entry_point: str | None = None,
    ) -> AsyncGenerator[Candidate]:
        """See Policy.sample."""
        missing = n
        while missing > 0:
            arrived = 0
            seed = None if sampling.seed is None else sampling.seed + n - missing
            call = self._one_call(messages, missing, replace(sampling, seed=seed), meter, prefix, entry_point)
            async with aclosing(call) as candidates:
                async for candidate in candidates:
                    arrived += 1
                    yield candidate
            if arrived == 0:
                raise EngineUnavailable("the engine closed the stream without a complete answer")
            missing -= arrived

    async def count_tokens(self, messages: Sequence[Message], model: str) -> int | None:
        """See Policy.count_tokens."""
        if not self._is_vllm():
            return None
        answer = await self._post("/tokenize", {"model": model, "messages": list(messages)})
        return None if answer is None else int(answer["count"])

    async def weigh(
        self, messages: Sequence[Message], words: Sequence[str], model: str, meter: Meter
    ) -> tuple[float, ...] | None:
        """See Policy.weigh."""
        if not self._is_vllm():
            return None
        ids = [await self._first_id(word, model) for word in words]
        if None in ids:
            return None
        body = {
            "model": model,
            "messages": list(messages),
            "max_tokens": 1,
            "temperature": 0.0,
            "logprobs": True,
            "logprob_token_ids": ids,
            "return_tokens_as_token_ids": True,
        }
        answer = await self._post("/v1/chat/completions", body)
        if answer is None:
            return None
        meter.spend(answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"])
        told = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        found = {entry["token"]: entry["logprob"] for entry in told}
        weights = [math.exp(found.get(f"token_id:{number}", -math.inf)) for number in ids]
        total = math.fsum(weights)
        return tuple(weight / total for weight in weights) if total > 0 else None

    async def _first_id(self, word: str, model: str) -> int | None:
        """Id of the token with which `word` begins."""
        if (model, word) not in self._ids:
            body = {"model": model, "prompt": word, "add_special_tokens": False}
            answer = await self._post("/tokenize", body)
            if answer is None:
                return None
            self._ids[model, word] = answer["tokens"][0]
        return self._ids[model, word]

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """The engine's answer; None if it refuses. Raises EngineUnavailable."""
        try:
            response = await self._http.post(path, json=body)
        except httpx.HTTPError as error:
            raise EngineUnavailable(f"engine connection failed: {type(error).__name__}: {error}") from error
        if response.status_code >= 500 or response.status_code == 429:
            raise EngineUnavailable(f"engine answered {response.status_code}: {response.text[:300]}")
        answer: dict[str, Any] | None = response.json() if response.status_code == 200 else None
        return answer

    async def _one_call(
        self,
        messages: Sequence[Message],
        n: int,
        sampling: Sampling,
        meter: Meter,
        prefix: str,
        entry_point: str | None,
    ) -> AsyncGenerator[Candidate]:
        partials: dict[int, _Partial] = {}
        prompt_ids: tuple[int, ...] = ()
        prompt_tokens = 0
        body = self._body(messages, n, sampling, prefix)
        async with aclosing(self._chunks(body)) as chunks:
            async for chunk in chunks:
                if chunk.get("prompt_token_ids"):
                    prompt_ids = tuple(chunk["prompt_token_ids"])
                reported = (chunk.get("usage") or {}).get("prompt_tokens", len(prompt_ids))
                meter.spend(max(reported - prompt_tokens, 0), 0)
                prompt_tokens = max(reported, prompt_tokens)
                for choice in chunk.get("choices") or ():
                    partial = partials.setdefault(choice.get("index", 0), _Partial(prefix))
                    meter.spend(0, _extend(partial, choice))
                    if choice.get("finish_reason"):
                        seed = None if sampling.seed is None else sampling.seed + choice.get("index", 0)
                        yield _candidate(
                            partial,
                            choice["finish_reason"],
                            prompt_ids,
                            prompt_tokens,
                            replace(sampling, seed=seed),
                            entry_point,
                        )

    def _body(self, messages: Sequence[Message], n: int, sampling: Sampling, prefix: str) -> dict[str, Any]:
        begun = [{"role": "assistant", "content": prefix}] if prefix else []
        body: dict[str, Any] = {
            "model": sampling.model,
            "messages": [*messages, *begun],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "stream": True,
            "stream_options": {"include_usage": True},
            "logprobs": True,
        }
        if n > 1:
            body["n"] = n
        if sampling.seed is not None:
            body["seed"] = sampling.seed
        if sampling.max_tokens is not None:
            body["max_tokens"] = sampling.max_tokens
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        if self._is_vllm():
            body |= {"top_k": 0, "min_p": sampling.min_p, "repetition_penalty": 1.0, "return_token_ids": True}
            body["stream_options"] = {"include_usage": True, "continuous_usage_stats": True}
            if sampling.stop:
                body["include_stop_str_in_output"] = True
            if begun:
                body |= {"continue_final_message": True, "add_generation_prompt": False}
        return body

    async def _chunks(self, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any]]:
        """The JSON chunks of one streamed call, up to `[DONE]`."""
        try:
            async with self._http.stream("POST", "/v1/chat/completions", json=body) as response:
                if response.status_code >= 400:
                    text = (await response.aread()).decode(errors="replace")
                    if response.status_code >= 500 or response.status_code == 429:
                        raise EngineUnavailable(f"engine answered {response.status_code}: {text[:300]}")
                    raise EngineRefused(response.status_code, text)
                async for line in response.aiter_lines():
                    if not line.startswith("data:"):
                        continue
                    data = line[5:].strip()
                    if data == "[DONE]":
                        return
                    chunk: dict[str, Any] = json.loads(data)
                    if chunk.get("error"):
                        raise EngineUnavailable(f"engine failed in mid-stream: {chunk['error']}")
                    yield chunk
                raise EngineUnavailable("the engine cut the stream")
        except (httpx.HTTPError, json.JSONDecodeError) as error:
            raise EngineUnavailable(f"engine connection failed: {type(error).__name__}: {error}") from error


def _extend(partial: _Partial, choice: dict[str, Any]) -> int:
    """Add one chunk to its choice; the number of tokens it brought."""
    delta = choice.get("delta") or {}
    text = delta.get("content") or ""
    ids = choice.get("token_ids") or []
    logprobs = [entry["logprob"] for entry in (choice.get("logprobs") or {}).get("content") or ()]
    partial.text.append(text)
    partial.ids.extend(ids)
    partial.logprobs.extend(logprobs)
    tokens = len(ids) or len(logprobs) or int(bool(text))
    partial.tokens += tokens
    return tokens


def _candidate(
    partial: _Partial,
    finish_reason: str,
    prompt_ids: tuple[int, ...],
    prompt_tokens: int,
    sampling: Sampling,
    entry_point: str | None,
) -> Candidate:
    text = partial.prefix + "".join(partial.text)
    program = extract(text, entry_point)
    return Candidate(
        text=text,
        code=program.code,
        code_start=program.start,
        prompt_ids=prompt_ids,
        completion_ids=tuple(partial.ids),
        logprobs=tuple(partial.logprobs),
        prompt_tokens=prompt_tokens,
        completion_tokens=partial.tokens,
        finish_reason=finish_reason,
        sampling=sampling,
        prefix=partial.prefix,
    )
