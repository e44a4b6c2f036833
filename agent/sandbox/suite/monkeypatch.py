"""`pytest.MonkeyPatch`: changes that are undone when the test ends. Standard library only: runs inside the jail."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

_ABSENT: Any = object()


class MonkeyPatch:
    """Patches objects, mappings, the environment, the import path and the working folder."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], object]] = []

    @classmethod
    @contextlib.contextmanager
    def context(cls) -> Iterator[MonkeyPatch]:
        """A patch that is undone at the end of the block."""
        made = cls()
        try:
            yield made
        finally:
            made.undo()

    def setattr(self, target: Any, name: Any, value: Any = _ABSENT, raising: bool = True) -> None:
        """Set an attribute of `target`; with two arguments the first is a dotted path to it."""
        if value is _ABSENT:
            target, name, value = *_resolve(target), name
        old = getattr(target, name, _ABSENT)
        if old is _ABSENT and raising:
            raise AttributeError(f"{target!r} has no attribute {name!r}")
        self._restore_attribute(target, name, old)
        setattr(target, name, value)

    def delattr(self, target: Any, name: Any = _ABSENT, raising: bool = True) -> None:
        """Delete an attribute of `target`; with one argument that is a dotted path to it."""
        if name is _ABSENT:
            target, name = _resolve(target)
        old = getattr(target, name, _ABSENT)
        if old is _ABSENT:
            if raising:
                raise AttributeError(name)
            return
        self._restore_attribute(target, name, old)
        delattr(target, name)

    def setitem(self, mapping: MutableMapping[Any, Any], key: Any, value: Any) -> None:
        """Set an item."""
        self._restore_item(mapping, key)
        mapping[key] = value

    def delitem(self, mapping: MutableMapping[Any, Any], key: Any, raising: bool = True) -> None:
        """Delete an item."""
        if key not in mapping:
            if raising:
                raise KeyError(key)
            return
        self._restore_item(mapping, key)
        del mapping[key]

    def setenv(self, name: str, value: Any, prepend: str | None = None) -> None:
        """Set an environment variable; with `prepend` in front of what it holds, parted by that text."""
        old = os.environ.get(name)
        self.setitem(os.environ, name, f"{value}{prepend}{old}" if prepend and old else str(value))

    def delenv(self, name: str, raising: bool = True) -> None:
        """Delete an environment variable."""
        self.delitem(os.environ, name, raising)

    def syspath_prepend(self, path: Any) -> None:
        """Put a folder in front of the import path."""
        old = list(sys.path)
        self._undo.append(lambda: sys.path.__setitem__(slice(None), old))
        sys.path.insert(0, str(path))

    def chdir(self, path: Any) -> None:
        """Change the working folder."""
        old = Path.cwd()
        self._undo.append(lambda: os.chdir(old))
        os.chdir(path)

    def undo(self) -> None:
        """Take every change back, the last one first."""
        while self._undo:
            self._undo.pop()()

    def _restore_attribute(self, target: Any, name: str, old: Any) -> None:
        kept = target.__dict__.get(name, _ABSENT) if issubclass(type(target), type) else old
        self._undo.append(lambda: delattr(target, name) if kept is _ABSENT else setattr(target, name, kept))

    def _restore_item(self, mapping: MutableMapping[Any, Any], key: Any) -> None:
        old = mapping.get(key, _ABSENT)

        def restore() -> None:
            if old is not _ABSENT:
                mapping[key] = old
            elif key in mapping:
                del mapping[key]

        self._undo.append(restore)


def _resolve(path: Any) -> tuple[Any, str]:
    if not isinstance(path, str) or "." not in path:
        raise TypeError("the target must be an object, or a dotted path as a string")
    parts = path.split(".")
    for count in range(len(parts) - 1, 0, -1):
        with contextlib.suppress(ImportError):
            found: Any = importlib.import_module(".".join(parts[:count]))
            for part in parts[count:-1]:
                found = getattr(found, part)
            return found, parts[-1]
    raise ImportError(f"no module named {parts[0]!r}")
