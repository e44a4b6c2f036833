"""How much the way of cutting the tail costs on this engine: top_p against min_p, side by side.

    .venv/bin/python -m tests.bench.sampling [--url http://127.0.0.1:8000] [--streams 16] [--rounds 3]

asks a running Burnish for one wide call of its base model with each setting in turn and prints tokens per second.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import httpx

_TOKENS = 48
_SETTINGS = {"top_p 0.95": {"top_p": 0.95}, "min_p 0.05": {"min_p": 0.05}, "neither": {}}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with httpx.Client(base_url=given.url, timeout=600, trust_env=False) as http:
        model = http.get("/v1/models").json()["data"][1]["id"]
    rates: dict[str, list[float]] = {name: [] for name in _SETTINGS}
    for _ in range(given.rounds + 1):  # the first round warms up
        for name, setting in _SETTINGS.items():
            rates[name].append(rate(given.url, model, given.streams, setting))
    for name, measured in rates.items():
        kept = measured[1:]
        print(f"{name}: {median(kept):.0f} tokens/s (min {min(kept):.0f}, max {max(kept):.0f})")


def rate(url: str, model: str, streams: int, setting: dict[str, float]) -> float:
    """Tokens per second of one call for `streams` answers."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "Write a long Python module about matrices."}],
        "n": streams,
        "temperature": 0.8,
        "max_tokens": _TOKENS,
        "ignore_eos": True,
        "logprobs": True,
        **setting,
    }
    started = time.monotonic()
    answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=600, trust_env=False).raise_for_status().json()
    return float(answer["usage"]["completion_tokens"]) / (time.monotonic() - started)


if __name__ == "__main__":
    main()
