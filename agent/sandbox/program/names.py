"""What tests may use of the program by name.

Standard library only: this module runs inside the jail.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from itertools import islice
from types import FunctionType, ModuleType

from agent.sandbox.wire.codec import Json

_MAX_NAMES = 10_000


def told(
    module: ModuleType, given: Collection[str], entry_point: str | None, number: Callable[[object], int]
) -> list[Json]:
    """`[name, "import", module, attribute]` for what was imported, `[name, "own"]` for its own, and `[name, "function",
    number]` for the entry point where it is a function of that name, so that the judge need not ask for it. Names that
    the prelude has `given` are left out: the judge has its own."""
    root = (entry_point or "").split("(")[0].split(".")[0]
    found: list[Json] = []
    for name, value in islice(list(module.__dict__.items()), _MAX_NAMES):
        if name.startswith("__") or (name in given and name != root):
            continue
        if isinstance(value, ModuleType):
            found.append([name, "import", str(value.__name__), ""])
            continue
        home = getattr(value, "__module__", None)
        if callable(value) and type(home) is str and home != module.__name__ and name != root:
            place = str(getattr(value, "__qualname__", name))
            if _is_from(home, place, value):
                found.append([name, "import", home, place])
                continue
        if name == root and type(value) is FunctionType and value.__name__ == name:
            found.append([name, "function", str(number(value))])
        else:
            found.append([name, "own"])
    return found


def _is_from(module: str, place: str, value: object) -> bool:
    """Whether an import from there gives `value`, and not only what it was made of."""
    found: object = sys.modules.get(module)
    if found is None:
        return True
    for part in place.split("."):
        found = getattr(found, part, None)
    return found is value
