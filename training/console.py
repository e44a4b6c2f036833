"""Where the commands tell how they go on."""

from __future__ import annotations

from rich.console import Console


def standard_error() -> Console:
    """Standard error, its lines as they are given: logs keep them, and people copy paths out of them."""
    return Console(stderr=True, markup=False, highlight=False, emoji=False, soft_wrap=True)
