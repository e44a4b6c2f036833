"""A scripted engine that takes adapters as vLLM does, and versions for it whose probes are right."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from agent.adapters import Adapter, Card, Kind, Probe, ProbePrompt, next_version, write
from tests.scripted_engine import MODEL, ScriptedEngine

PROMPTS = (tuple(range(3, 43)), tuple(range(50, 80)), tuple(range(7, 60, 2)), tuple(range(90, 120)))
LONG = tuple(range(300))
NEXT = tuple(range(1, 13))


def logprob(token: int, place: int, shift: float) -> float:
    """Of a token, by a model whose adapter has this `shift`; the base model's is 0."""
    return -1.0 - (token * 7 + place * 3) % 11 / 10 - shift * (token % 4) / 4


@dataclass
class LoraEngine(ScriptedEngine):
    """Its adapters are files that hold a number."""

    runtime_lora: bool = True
    held: dict[str, str] = field(default_factory=dict)
    """Adapters with their folders."""
    shifts: dict[str, float] = field(default_factory=dict)
    confused: dict[str, str] = field(default_factory=dict)
    """Models that are answered by another one, which should not be."""
    stale: bool = False
    """The prefix cache answers a repeated text with the base model's values."""
    noise: float = 0.0
    requested: list[str] = field(default_factory=list)
    """Models of all requests for tokens."""
    loads: int = 0
    load_s: float = 0.0
    vllm: bool = True
    _seen: set[tuple[str, tuple[int, ...]]] = field(default_factory=set)

    def app(self) -> FastAPI:
        app = super().app()
        app.post("/v1/completions")(self._completions)
        if self.runtime_lora:
            app.post("/v1/load_lora_adapter")(self._load)
            app.post("/v1/unload_lora_adapter")(self._unload)
        return app

    def forget(self) -> None:
        """What a restart does."""
        self.held.clear()
        self.shifts.clear()
        self._seen.clear()

    async def _models(self) -> dict[str, Any]:
        entry = {"object": "model", "owned_by": "vllm" if self.vllm else "other", "max_model_len": self.context}
        adapters = [{**entry, "id": name, "root": root, "parent": MODEL} for name, root in self.held.items()]
        return {"object": "list", "data": [{**entry, "id": MODEL, "root": MODEL, "parent": None}, *adapters]}

    async def _load(self, request: Request) -> Response:
        body = await request.json()
        name, folder = body["lora_name"], Path(body["lora_path"])
        await asyncio.sleep(self.load_s)
        if name in self.held:
            return _error(400, f"The lora adapter '{name}' has already been loaded.")
        if not folder.is_dir():  # noqa: ASYNC240 (a test's engine)
            return _error(404, f"Loading lora {name} failed: No adapter found for {folder}")
        self.loads += 1
        self.shifts[name] = float((folder / "adapter_model.safetensors").read_text())
        self.held[name] = str(folder)
        return PlainTextResponse(f"Success: LoRA adapter '{name}' added successfully.")

    async def _unload(self, request: Request) -> Response:
        name = (await request.json())["lora_name"]
        if name not in self.held:
            return _error(404, f"The lora adapter '{name}' cannot be found.")
        del self.held[name]
        return PlainTextResponse(f"Success: LoRA adapter '{name}' removed successfully.")

    async def _chat(self, request: Request) -> Response:
        model = (await request.json())["model"]
        self.requested.append(model)
        if model != MODEL and model not in self.held:
            return _error(404, f"The model `{model}` does not exist.")
        return await super()._chat(request)

    async def _completions(self, request: Request) -> Response:
        body = await request.json()
        model, ids = body["model"], tuple(body["prompt"])
        self.requested.append(model)
        if model != MODEL and model not in self.held:
            return _error(404, f"The model `{model}` does not exist.")
        shift = self.shifts.get(self.confused.get(model, model), 0.0)
        choice: dict[str, Any] = {"index": 0, "text": "x", "finish_reason": "length"}
        assert "prompt_logprobs" not in body, "vLLM 0.32 on a CPU dies of it"
        if "logprob_token_ids" in body:
            cached = self.stale and (model, ids) in self._seen
            self._seen.add((model, ids))
            told = {
                f"token_id:{token}": logprob(token, len(ids), 0.0 if cached else shift) + self.noise * (-1) ** token
                for token in body["logprob_token_ids"]
            }
            choice["logprobs"] = {"top_logprobs": [told]}
        return JSONResponse({"choices": [choice], "usage": {"prompt_tokens": len(ids), "completion_tokens": 1}})


def probe_of(shift: float) -> Probe:
    """What a trainer would have computed for such an adapter."""

    def prompt(ids: Sequence[int]) -> ProbePrompt:
        def follows(by: float) -> tuple[float, ...]:
            return tuple(logprob(token, len(ids), by) for token in NEXT)

        return ProbePrompt(ids=tuple(ids), next_ids=NEXT, trained=follows(shift), base=follows(0.0))

    return Probe(prompts=tuple(prompt(ids) for ids in PROMPTS), repeated=prompt(LONG))


def published(
    data_dir: Path, kind: Kind = "actor", *, shift: float = 0.5, weights: float | None = None, **card: Any
) -> Adapter:
    """A version of `LoraEngine`'s model; with `weights` it holds others than its probe says."""
    root = data_dir / "adapters"
    made = data_dir / "made"
    made.mkdir(parents=True, exist_ok=True)
    config = {"peft_type": "LORA", "r": 8, "bias": "none", "target_modules": ["q_proj"], **card.pop("config", {})}
    (made / "adapter_config.json").write_text(json.dumps(config))
    (made / "adapter_model.safetensors").write_text(str(shift if weights is None else weights))
    known = {"name": next_version(root, kind), "base": MODEL, "created": time.time(), **card}
    return write(root, Card(**known), probe_of(shift), made)


def _error(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "type": "x", "code": status}}, status)
