"""Versions going live under load: is any request lost, does any answer come from other weights, how long does it take?

    burnish serve --engine-url http://127.0.0.1:8001 --data-dir DATA &
    .venv/bin/python -m tests.bench.adapter_swap --engine-url http://127.0.0.1:8001 --data-dir DATA --base MODEL_FOLDER

Some streams ask `burnish` one question after the other, while two versions (random ones, unless --versions names two
that are published) are loaded, proved and promoted one after the other and the second is rolled back. Of the answers,
as many of them as --checked says, the log-probabilities of some tokens, told when they were sampled, are compared with
those of the base model and of both versions, from the engine: the nearest must be the one that the answer names.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from tests.bench.report import Row, publish
from tests.random_versions import TASKS, speaker, version

_TIMEOUT = httpx.Timeout(connect=10.0, read=900.0, write=30.0, pool=None)


@dataclass
class Heard:
    """One request."""

    phase: str
    first_s: float
    """Until the first byte."""
    seconds: float
    error: str = ""
    answer: dict[str, Any] = field(default_factory=dict)
    """The field `burnish`."""


@dataclass
class Run:
    """Streams that ask without end, and what is done meanwhile."""

    http: httpx.AsyncClient
    max_tokens: int
    phase: str = "base model"
    heard: list[Heard] = field(default_factory=list)
    changes: list[Row] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def stream(self, number: int) -> None:
        """Ask until the end."""
        asked = number
        while not self.ended.is_set():
            self.heard.append(await self._ask(asked))
            asked += 1

    async def change(self, name: str, path: str, body: object = None) -> dict[str, Any]:
        """Call the server and note how long it took."""
        started = time.perf_counter()
        response = await self.http.post(f"/burnish/adapters{path}", json=body)
        seconds = time.perf_counter() - started
        self.changes.append({"step": name, "HTTP": response.status_code, "seconds": seconds})
        response.raise_for_status()
        told: dict[str, Any] = response.json()
        return told

    async def lasting(self, phase: str, seconds: float) -> None:
        """Let the streams go on for a while."""
        self.phase = phase
        await asyncio.sleep(seconds)

    async def _ask(self, number: int) -> Heard:
        body = {
            "model": "burnish",
            "messages": [{"role": "user", "content": TASKS[number % len(TASKS)]}],
            "stream": True,
            "max_tokens": self.max_tokens,
            "seed": number,
            "burnish": {"tests": "assert True", "max_candidates": 1, "max_rounds": 0, "trace": True, "memory": False},
        }
        phase, started = self.phase, time.perf_counter()
        answer: dict[str, Any] = {}
        first, error, done = 0.0, "", False
        try:
            async with self.http.stream("POST", "/v1/chat/completions", json=body) as response:
                if response.status_code != 200:
                    error = f"HTTP {response.status_code}: {(await response.aread())[:200]!r}"
                async for line in response.aiter_lines():
                    first = first or time.perf_counter() - started
                    if not line.startswith("data: "):
                        continue
                    done = line == "data: [DONE]"
                    chunk = {} if done else json.loads(line[6:])
                    error = error or str((chunk.get("error") or {}).get("message") or "")
                    answer = chunk.get("burnish", answer)
        except (httpx.HTTPError, ValueError) as failure:
            error = f"{type(failure).__name__}: {failure}"
        if not error and not (done and answer):
            error = "the stream ended without an answer"
        return Heard(phase, first, time.perf_counter() - started, error, answer)


async def main(arguments: argparse.Namespace) -> None:
    """Run it and print the tables."""
    engine = httpx.AsyncClient(base_url=arguments.engine_url, timeout=_TIMEOUT, trust_env=False)
    server = httpx.AsyncClient(base_url=arguments.url, timeout=_TIMEOUT, trust_env=False)
    async with engine, server:
        base = (await server.get("/burnish/adapters")).json()["base"]
        names = arguments.versions or [
            version(arguments.base, base, arguments.data_dir, seed=seed, scale=arguments.scale).name for seed in (1, 2)
        ]
        first, second = names
        run = Run(server, arguments.max_tokens)

        async def steps() -> None:
            try:
                await run.lasting("base model", arguments.seconds)
                for name in names:
                    run.phase = f"{name} is loaded"
                    await run.change(f"load and prove {name}", f"/{name}/load")
                    await run.change(f"promote {name}", f"/{name}/promote", {"force": True})
                    await run.lasting(f"{name} is live", arguments.seconds)
                await run.change(f"roll back {second}", "/rollback", {"kind": "actor"})
                await run.lasting(f"{first} again", arguments.seconds)
            finally:
                run.ended.set()

        await asyncio.gather(steps(), *(run.stream(number * 1000) for number in range(arguments.streams)))
        wrong, checked, margin = await _speakers(engine, [base, *names], run.heard, arguments.checked)
    command = f"tests.bench.adapter_swap --streams {arguments.streams} --seconds {arguments.seconds:g}"
    failed = [heard for heard in run.heard if heard.error]
    notes = [
        f"{len(run.heard)} requests, {len(failed)} failed; {checked} answers checked, {wrong} of them from other "
        f"weights than their version field says (the nearest other model is at least {margin:.1f} times as far).",
        *(f"failed ({heard.phase}): {heard.error}" for heard in failed[:5]),
    ]
    publish(command, _phases(run.heard), as_json=arguments.json, notes=notes)
    publish(command, run.changes, as_json=arguments.json)


async def _speakers(
    engine: httpx.AsyncClient, models: Sequence[str], heard: Sequence[Heard], most: int
) -> tuple[int, int, float]:
    """Answers from the wrong weights, answers checked (at most so many), and how many times as far as the nearest model
    the second nearest is at least."""
    answered = [one for one in heard if one.answer]
    answered = answered[:: max(1, -(-len(answered) // most))]
    wrong, checked, margin = 0, 0, float("inf")
    limit = asyncio.Semaphore(8)

    async def check(one: Heard) -> None:
        nonlocal wrong, checked, margin
        async with limit:
            for attempt in one.answer["attempts"]:
                if not attempt["candidate"]["completion_ids"]:
                    continue
                said, margins = await speaker(engine, models, attempt["candidate"])
                wrong += said != one.answer["model_version"]
                checked += 1
                margin = min(margin, margins[said])

    await asyncio.gather(*(check(one) for one in answered))
    return wrong, checked, margin


def _phases(heard: Sequence[Heard]) -> list[Row]:
    rows: list[Row] = []
    for phase in dict.fromkeys(one.phase for one in heard):
        ours = [one for one in heard if one.phase == phase]
        good = [one for one in ours if not one.error]
        versions = Counter(one.answer["model_version"] for one in good)
        times = sorted(one.seconds for one in good) or [0.0]
        rows.append(
            {
                "asked while": phase,
                "requests": len(ours),
                "failed": len(ours) - len(good),
                "answered by": ", ".join(f"{name} {count}" for name, count in versions.items()),
                "first byte, median s": median([one.first_s for one in good] or [0.0]),
                "whole, median s": median(times),
                "whole, 95 % s": times[min(len(times) - 1, int(0.95 * len(times)))],
            }
        )
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the Burnish server")
    parser.add_argument("--engine-url", required=True, help="the engine behind it, to check whose answers they were")
    parser.add_argument("--data-dir", type=Path, required=True, help="the server's data directory")
    parser.add_argument("--base", type=Path, help="folder of the served model, for random versions")
    parser.add_argument("--versions", nargs=2, metavar="NAME", help="two published versions instead of random ones")
    parser.add_argument("--scale", type=float, default=0.02, help="size of the random versions' weights")
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60.0, help="length of each phase")
    parser.add_argument("--max-tokens", type=int, default=96)
    parser.add_argument("--checked", type=int, default=200, help="answers whose weights are checked, evenly spread")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.versions is None and given.base is None:
        parser.error("give --base, or --versions")
    asyncio.run(main(given))
