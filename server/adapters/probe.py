"""Proof that the engine answers with the weights that were trained, not with the base model's or another version's.

Leg 1, weights: of given texts, the log-probabilities of tokens to follow are asked. What the trainer computed with and
without the adapter gives the change that it makes; the engine must show all of it (share 1), not none (share 0: the
base model answers), and be nearer to the trained values than to the base model's, apart from noise. Leg 2, cache: a
text that is longer than two blocks of the engine's prefix cache is sent twice; the second answer may come from it.

The engine's base model is asked for some of the texts too: what it differs from the trainer's by is noise of arithmetic
(the trainer's values are float32, engines round), and an adapter that changes less than that cannot be proved
("indistinguishable").

Requests are those of ordinary traffic. The log-probabilities of a prompt's own tokens (`prompt_logprobs`) would tell
more per request, but vLLM 0.32 on a CPU dies of such a request when another one is in the same step and adapters are
enabled.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import fsum
from typing import Any, Literal

import httpx

from agent.adapters import Adapter, ProbePrompt
from agent.errors import EngineUnavailable
from server.engine.client import EngineClient

Result = Literal["passed", "failed", "indistinguishable"]

_TELLING = 4
"""Compared is the quarter of the tokens where adapter and base model differ most."""
_UNSURE = 0.125
"""Largest standard deviation of the share: four of them lie between all of the change and half of it, and as many
between half and none."""
_FAR_ABOVE_NOISE = 5.0
"""How many times the noise adapter and base model must differ after a single text, whose values share one error, so
that the answer tells them apart."""
_EVERY = 3
"""The base model is asked for every third text."""
_AT_ONCE = 4
"""Requests under way."""
_SHARE = (0.5, 1.5)
"""Between which limits the share of the trained change lies that the engine shows."""
_NEARER = 0.5
"""How near to the trained values, as a part of the distance to the base model's."""
_NOISE = 2.0
"""How many times the noise is allowed on top."""
_TIMEOUT_S = 300.0
_SILENT = "the engine tells no log-probabilities of chosen tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """When values are equal."""

    cap: float
    """Largest mean difference, in log-probability, between what was trained and what is served."""
    floor: float
    """Smallest mean difference between adapter and base model that is looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What was found on one replica. All distances are means of absolute differences of log-probabilities."""

    result: Result
    reason: str = ""
    """Why it is not passed."""
    replica: str = ""
    share: float = 0.0
    """How much of the change that was trained the engine shows: 1 all of it, 0 none."""
    unsure: float = 0.0
    """Standard deviation of the share, as far as the noise makes it; the values of one text share their noise."""
    distance: float = 0.0
    """Served to trained, on the tokens that tell most."""
    to_base: float = 0.0
    """Served to base."""
    separation: float = 0.0
    """Trained to base, on all tokens."""
    noise: float = 0.0
    """The engine's base model to the trainer's."""
    cached: float | None = None
    """Served to trained of the token after the repeated text; None if that was not asked."""


async def prove(client: EngineClient, adapter: Adapter, base: str, bounds: Bounds, *, cache: bool = True) -> Proof:
    """Compare what the replica answers as `adapter` with the adapter's probe. `base` is the base model's name there.
    Without `cache` leg 2 is left out, which has nothing to find in an engine that just started.

    Raises EngineUnavailable.
    """
    prompts = adapter.probe.prompts
    trained = [value for prompt in prompts for value in prompt.trained]
    plain = [value for prompt in prompts for value in prompt.base]
    if not trained:
        return Proof(result="failed", reason="its probe holds no text", replica=client.url)
    some = prompts[::_EVERY]
    served_base = await _scored(client, base, some)
    served = await _scored(client, adapter.name, prompts)
    if served is None or served_base is None:
        return Proof(result="failed", reason=_SILENT, replica=client.url)
    telling = sorted(range(len(trained)), key=lambda place: -abs(trained[place] - plain[place]))
    telling = telling[: max(1, len(trained) // _TELLING)]
    plain_of_some = [value for prompt in some for value in prompt.base]
    found = Proof(
        result="passed",
        replica=client.url,
        share=_share(served, trained, plain),
        unsure=_root_mean_square(served_base, plain_of_some)
        / ((_root_mean_square(trained, plain) or 1.0) * math.sqrt(len(prompts))),
        distance=_mean(served, trained, telling),
        to_base=_mean(served, plain, telling),
        separation=_mean(trained, plain),
        noise=_mean(served_base, plain_of_some),
    )
    verdict = _judged(found, _mean(served, trained), bounds)
    if verdict.result != "passed" or not cache or adapter.probe.repeated is None:
        return verdict
    return await _repeated(client, adapter.name, adapter.probe.repeated, verdict, bounds)


def _judged(found: Proof, everywhere: float, bounds: Bounds) -> Proof:
    """Leg 1. `everywhere` is the distance over all tokens."""
    if found.noise > bounds.cap:
        return _with(
            found, "failed", f"the engine's base model is not the trained one: it differs by {found.noise:.3f}"
        )
    if found.separation < bounds.floor or found.unsure > _UNSURE:
        reason = (
            f"it differs from the base model by {found.separation:.4f} on its own probe, and engine and trainer by "
            f"{found.noise:.4f}: too little to prove anything"
        )
        return _with(found, "indistinguishable", reason)
    near = found.distance < _NEARER * found.to_base + _NOISE * found.noise
    if not (_SHARE[0] < found.share < _SHARE[1] and near):
        reason = (
            f"the engine answers with other weights: it shows {found.share:.2f} of the change that was trained and is "
            f"{found.distance:.3f} from what was trained, {found.to_base:.3f} from the base model"
        )
        return _with(found, "failed", reason)
    if max(everywhere, found.distance) > bounds.cap:
        reason = f"the engine is {max(everywhere, found.distance):.3f} from what was trained; at most {bounds.cap:g}"
        return _with(found, "failed", reason)
    return found


async def _repeated(client: EngineClient, model: str, text: ProbePrompt, found: Proof, bounds: Bounds) -> Proof:
    """Leg 2: the second answer may come from the prefix cache."""
    first = await _next(client, model, text)
    second = await _next(client, model, text)
    if first is None or second is None:
        return _with(found, "failed", _SILENT)
    distance = max(_mean(first, text.trained), _mean(second, text.trained))
    to_base = _mean(second, text.base)
    told = replace(found, cached=distance)
    apart = _mean(text.trained, text.base) >= max(bounds.floor, _FAR_ABOVE_NOISE * found.noise)
    if distance > bounds.cap or (apart and distance >= _NEARER * to_base):
        reason = f"after a repeated text the engine is {distance:.4f} from what was trained: its cache is another's"
        return _with(told, "failed", reason)
    return told


async def _scored(client: EngineClient, model: str, prompts: Sequence[ProbePrompt]) -> list[float] | None:
    """The engine's log-probabilities after each text, in the order of the texts; None if it tells none."""
    limit = asyncio.Semaphore(_AT_ONCE)

    async def told(prompt: ProbePrompt) -> list[float] | None:
        async with limit:
            return await _next(client, model, prompt)

    values: list[float] = []
    for found in await asyncio.gather(*(told(prompt) for prompt in prompts)):
        if found is None:
            return None
        values += found
    return values


async def _next(client: EngineClient, model: str, text: ProbePrompt) -> list[float] | None:
    """The engine's log-probabilities of `next_ids` after the text; None if it tells none."""
    more = {"logprobs": 1, "logprob_token_ids": list(text.next_ids), "return_tokens_as_token_ids": True}
    choice = await _completion(client, model, text.ids, more)
    told = ((choice.get("logprobs") or {}).get("top_logprobs") or [{}])[0] or {}
    values = [told.get(f"token_id:{token}") for token in text.next_ids]
    return None if None in values else [float(value) for value in values if value is not None]


async def _completion(client: EngineClient, model: str, ids: Sequence[int], more: dict[str, Any]) -> dict[str, Any]:
    body = {"model": model, "prompt": list(ids), "max_tokens": 1, "temperature": 0.0, **more}
    try:
        response = await client.http.post("/v1/completions", json=body, timeout=_TIMEOUT_S)
    except httpx.HTTPError as error:
        raise EngineUnavailable(f"the engine at {client.url} does not answer: {type(error).__name__}") from error
    if response.status_code != 200:
        raise EngineUnavailable(f"the engine at {client.url} answered {response.status_code}: {response.text[:300]}")
    choice: dict[str, Any] = response.json()["choices"][0]
    return choice


def _share(served: Sequence[float], trained: Sequence[float], base: Sequence[float]) -> float:
    """The served change's projection on the trained one, in units of it."""
    change = [one - other for one, other in zip(trained, base, strict=True)]
    shown = fsum(d * (one - other) for d, one, other in zip(change, served, base, strict=True))
    return shown / (fsum(d * d for d in change) or 1.0)


def _mean(one: Sequence[float], other: Sequence[float], places: Sequence[int] | None = None) -> float:
    """Mean absolute difference, at some places or at all."""
    places = range(len(one)) if places is None else places
    return fsum(abs(one[place] - other[place]) for place in places) / max(1, len(places))


def _root_mean_square(one: Sequence[float], other: Sequence[float]) -> float:
    """Of the differences."""
    return math.sqrt(fsum((first - second) ** 2 for first, second in zip(one, other, strict=True)) / max(1, len(one)))


def _with(found: Proof, result: Result, reason: str) -> Proof:
    return replace(found, result=result, reason=reason)
