"""Versions with random weights for a real model, published as training publishes, and which model said what.

Needs the extra `train`.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from math import fsum
from pathlib import Path
from typing import Any

import httpx
import torch
from transformers import AutoTokenizer

from agent.adapters import Adapter
from training import adapter
from training.adapter import LoraSettings
from training.publish import publish

TASKS = (
    "Write a Python function add(a, b).",
    "Write a Python function that reverses the words of a string.",
    "Write a Python function that returns the n-th Fibonacci number, and explain how it works.",
    "Complete this Python function: def is_prime(number):",
    "Write a Python class Stack with push, pop and peek.",
)


def weights(base: Path, folder: Path, *, seed: int, scale: float) -> Path:
    """A random adapter in peft's format; with scale 0 it changes nothing."""
    model = adapter.build(base, LoraSettings(rank=8, alpha=16), seed=seed)
    with torch.no_grad(), adapter.seeded(seed):
        for name, parameter in adapter.trained(model).items():
            if "lora_B" in name:
                parameter.normal_(0.0, scale) if scale else parameter.zero_()
    adapter.save(model, folder, str(base))
    return folder


def version(base: Path, base_name: str, data_dir: Path, *, seed: int, scale: float = 0.03) -> Adapter:
    """A published version with random weights."""
    with tempfile.TemporaryDirectory() as folder:
        made = weights(base, Path(folder), seed=seed, scale=scale)
        return publish(
            made,
            data_dir / "adapters",
            "actor",
            base=base,
            base_name=base_name,
            texts=texts(base),
            algorithm="random",
            run=f"seed {seed}",
        )


def texts(base: Path) -> list[list[int]]:
    """Some prompts as token ids."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    chats = [[{"role": "user", "content": task}] for task in TASKS]
    rendered = [tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False) for chat in chats]
    return [list(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in rendered]


async def speaker(
    engine: httpx.AsyncClient, models: Sequence[str], candidate: Mapping[str, Any], *, places: int = 16
) -> tuple[str, Mapping[str, float]]:
    """Which of the models an attempt's `candidate` came from, by the log-probabilities of its tokens that were told as
    they were sampled; and for each model how many times as far away from these the nearest other one is. Two models are
    compared at the half of the places where these two differ most: a third one that differs more elsewhere would leave
    nothing but the engine's noise between them."""
    prompt, answer, told = candidate["prompt_ids"], candidate["completion_ids"], candidate["logprobs"]
    looked_at = sorted({round(place * (len(answer) - 1) / max(1, places - 1)) for place in range(places)})
    found: dict[str, list[float]] = {}
    for model in models:
        asked = (_logprob(engine, model, [*prompt, *answer[:at]], answer[at]) for at in looked_at)
        found[model] = await asyncio.gather(*asked)
    heard = [told[at] for at in looked_at]
    margins = {
        model: min(_times_as_far(found[other], found[model], heard) for other in models if other != model)
        for model in models
    }
    return max(margins, key=lambda model: margins[model]), margins


def _times_as_far(other: Sequence[float], model: Sequence[float], heard: Sequence[float]) -> float:
    """How much further `other` is from what was heard than `model` is, where the two differ most."""
    apart = sorted(zip(other, model, heard, strict=True), key=lambda values: -abs(values[0] - values[1]))
    telling = apart[: max(1, len(apart) // 2)]
    far, near = (fsum(abs(values[which] - values[2]) for values in telling) for which in (0, 1))
    return far / max(near, 1e-9)


async def _logprob(engine: httpx.AsyncClient, model: str, ids: Sequence[int], token: int) -> float:
    """Of a token to follow the ids."""
    more = {"logprobs": 1, "logprob_token_ids": [token], "return_tokens_as_token_ids": True}
    body = {"model": model, "prompt": list(ids), "max_tokens": 1, "temperature": 0.0, **more}
    response = await engine.post("/v1/completions", json=body)
    response.raise_for_status()
    return float(response.json()["choices"][0]["logprobs"]["top_logprobs"][0][f"token_id:{token}"])
