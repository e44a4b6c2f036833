"""The order of policy versions: the base model is 0, `actor@N` is N."""

from __future__ import annotations

import re

_ACTOR = re.compile(r"actor@([1-9]\d*)", re.ASCII)


def version_number(version: str, base: str) -> int | None:
    """The number of a version; None for a name that is neither the base model's nor an actor's."""
    if version == base:
        return 0
    match = _ACTOR.fullmatch(version)
    return int(match[1]) if match else None
