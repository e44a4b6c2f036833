"""What a call made of its mutable arguments, put into the test's own objects.

Standard library only: this module runs inside the jail.
"""

from __future__ import annotations

import collections
from collections.abc import Collection
from typing import Any


def merge(old: Any, new: Any, shared: Collection[type]) -> Any:
    """Make `old` hold what `new` holds, keeping its identity and that of mutable values inside where kinds match.
    Instances of `shared` classes travel by structure, all other objects of the tests as themselves."""
    if old is new:
        return old
    if isinstance(old, list) and isinstance(new, list):
        old[:] = _items(old, new, shared)
        return old
    if isinstance(old, tuple) and type(old) is type(new):
        kept = _items(old, new, shared)
        same = len(old) == len(kept) and all(was is now for was, now in zip(old, kept, strict=True))
        return old if same else new
    if isinstance(old, dict) and isinstance(new, dict):
        merged = {key: merge(old[key], value, shared) if key in old else value for key, value in new.items()}
        old.clear()
        old.update(merged)
        return old
    if isinstance(old, set) and isinstance(new, set):
        old.clear()
        old.update(new)
        return old
    if isinstance(old, collections.deque) and isinstance(new, collections.deque):
        held = _items(list(old), list(new), shared)
        old.clear()
        old.extend(held)
        return old
    if isinstance(old, bytearray) and isinstance(new, bytearray):
        old[:] = new
        return old
    if type(old) is type(new) and type(old) in shared and hasattr(old, "__dict__"):
        old.__dict__.clear()
        old.__dict__.update(new.__dict__)
        return old
    return new


def _items(old: Any, new: Any, shared: Collection[type]) -> list[Any]:
    return [merge(old[at], item, shared) if at < len(old) else item for at, item in enumerate(new)]
