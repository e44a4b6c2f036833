"""Random numbers: one root seed of a run, and a seed of its own for each purpose."""

from __future__ import annotations

import hashlib


def derived(root: int, *purpose: str | int) -> int:
    """The seed of one purpose, e.g. `derived(seed, "dropout", step)`; below 2**31. Other purposes have others."""
    text = "/".join(map(str, (root, *purpose)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) >> 1
