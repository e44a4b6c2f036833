"""The program's objects that tests hold: each stays beside the program and is known outside by a number.

Standard library only: this module runs inside the jail.
"""

from __future__ import annotations

import types
from collections.abc import Callable

from agent.sandbox.wire import codec, decoding
from agent.sandbox.wire.codec import Json

_FUNCTIONS = (
    types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.MethodWrapperType,
)  # fmt: skip

CallBack = Callable[[int, str, Json], object]
"""Calls an object of the judge: its number, the name of a method or "", positional and named arguments."""


class Exports:
    """The objects of one program."""

    def __init__(self, module: types.ModuleType, call_back: CallBack) -> None:
        self._module = module
        self._call_back = call_back
        self._shared: frozenset[str] = frozenset()
        self._objects: list[object] = []
        self._indices: dict[int, int] = {}

    def share(self, names: frozenset[str]) -> None:
        """Let instances of these classes of the module travel by structure."""
        self._shared = names

    def encode(self, value: object) -> Json:
        """`value` with references where it is not plain. Raises Unserialisable."""
        return codec.encode(value, self._reference, self.shared_name)

    def decode(self, wire: Json) -> object:
        """What `wire` stands for here. Raises Malformed."""
        classes: dict[str, type] = {}
        if wire.get("o"):
            classes = {name: value for name, value in self._module.__dict__.items() if isinstance(value, type)}
        return decoding.decode(wire, self._resolve, classes)

    def shared_name(self, value: object) -> str | None:
        """Name of the shared class of which `value` is an instance."""
        kind = type(value)
        if self._shared and kind.__name__ in self._shared and kind.__module__ == self._module.__name__:
            return kind.__name__
        return None

    def _reference(self, value: object) -> list[Json]:
        extra: Json
        kind = "class" if isinstance(value, type) else "function" if _is_function(value) else "object"
        if kind == "class":
            name, extra = str(getattr(value, "__name__", "?")), _bases(value)
        elif kind == "function":
            name, extra = str(getattr(value, "__name__", "?")), None
        else:
            name, extra = type(value).__name__, [self._index(type(value)), base_value(value)]
        return ["h", "c", self._index(value), kind, name[:200], extra]

    def _index(self, value: object) -> int:
        index = self._indices.get(id(value))
        if index is None:
            index = self._indices[id(value)] = len(self._objects)
            self._objects.append(value)
        return index

    def _resolve(self, wire: list[Json]) -> object:
        return self._objects[wire[2]] if wire[1] == "c" else _Foreign(self._call_back, wire[2])


class _Foreign:
    """An object of the test code: callable, its public methods too."""

    def __init__(self, call_back: CallBack, number: int, name: str = "") -> None:
        self._call_back = call_back
        self._number = number
        self._name = name

    def __call__(self, *positional: object, **named: object) -> object:
        return self._call_back(self._number, self._name, [list(positional), named])

    def __getattr__(self, name: str) -> object:
        if name.startswith("_") or self._name:
            raise AttributeError(name)
        return _Foreign(self._call_back, self._number, name)


def _is_function(value: object) -> bool:
    return isinstance(value, _FUNCTIONS) or type(value).__name__ in ("partial", "_lru_cache_wrapper")


def _bases(value: object) -> list[str] | None:
    if isinstance(value, type) and issubclass(value, BaseException):
        return [kind.__name__ for kind in value.__mro__ if kind is not object]
    return None


def base_value(value: object) -> Json:
    """Plain value of an enum member that is also a number or a text."""
    if isinstance(value, int | float | str):
        return codec.encode(value)
    return None
