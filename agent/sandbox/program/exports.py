"""The program's objects that tests hold, and those of the tests that the program holds.

Each stays where it is and is known on the other side by a number. Standard library only: this module runs inside the
jail.
"""

from __future__ import annotations

import types
from collections.abc import Callable

from agent.sandbox.program import abilities
from agent.sandbox.program.told import Told
from agent.sandbox.wire import codec
from agent.sandbox.wire.codec import Json
from agent.sandbox.wire.containers import PROGRAM, Containers

_FUNCTIONS = (
    types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.MethodWrapperType,
)  # fmt: skip
OFFERED = ("__iter__", "__next__", "__len__", "__getitem__", "__contains__")
"""What the program may do to an object of the tests whose class can do it, beside calling it and its methods."""

CallBack = Callable[..., object]
"""Calls an object of the judge: its number, the name of a method or "", then as `operations.call`."""


class Exports:
    """The objects of one program."""

    def __init__(self, module: types.ModuleType, call_back: CallBack) -> None:
        self._module = module
        self._call_back = call_back
        self._given: frozenset[str] = frozenset()
        self._objects: list[object] = []
        self._indices: dict[int, int] = {}
        self._foreign: dict[int, object] = {}
        self._abilities: dict[int, int] = {}
        self.containers = Containers(PROGRAM, self._reference, self._resolve, self._given_name, self._given_class)
        self.told = Told(lambda value: codec.encode(value, self._reference), self._index)

    def give(self, names: frozenset[str]) -> None:
        """Let instances of these classes of the module travel by structure: the problem statement gives them."""
        self._given = names

    def _given_name(self, value: object) -> str | None:
        kind = type(value)
        if self._given and kind.__name__ in self._given and kind.__module__ == self._module.__name__:
            return kind.__name__
        return None

    def _given_class(self, name: str) -> type:
        kind: type = self._module.__dict__[name]
        return kind

    def _reference(self, value: object) -> list[Json]:
        if isinstance(value, _Foreign) and not value._name:
            return ["h", "j", value._number]
        extra: Json = None
        name = str(getattr(value, "__name__", "?"))
        if isinstance(value, type):
            kind = "class"
            extra = self.told.kinds(value) if issubclass(value, BaseException) else None
        elif _is_function(value):
            kind = "function"
        elif isinstance(value, types.GeneratorType | types.CoroutineType):
            kind = "generator" if isinstance(value, types.GeneratorType) else "coroutine"
        elif isinstance(value, BaseException):
            kind, extra = "error", self.told.of(value)
        else:
            kind, name = "object", type(value).__name__
            owner = self._index(type(value))
            if owner not in self._abilities:
                self._abilities[owner] = abilities.of(type(value))
            extra = [owner, base_value(value), self._abilities[owner]]
        return ["h", "c", self._index(value), kind, name[:200], extra]

    def _index(self, value: object) -> int:
        index = self._indices.get(id(value))
        if index is None:
            index = self._indices[id(value)] = len(self._objects)
            self._objects.append(value)
        return index

    def _resolve(self, wire: list[Json]) -> object:
        if wire[1] == "c":
            return self._objects[wire[2]]
        number = wire[2]
        if number not in self._foreign:
            self._foreign[number] = _kind_of_foreign(tuple(wire[3]))(self._call_back, number)
        return self._foreign[number]


class _Foreign:
    """An object of the test code: callable, its public methods too."""

    def __init__(self, call_back: CallBack, number: int, name: str = "") -> None:
        self._call_back = call_back
        self._number = number
        self._name = name

    def __call__(self, *positional: object, **named: object) -> object:
        return self._call_back(self._number, self._name, positional, tuple(named), tuple(named.values()))

    def __getattr__(self, name: str) -> object:
        if name.startswith("_") or self._name:
            raise AttributeError(name)
        return _Foreign(self._call_back, self._number, name)


_KINDS: dict[tuple[str, ...], type[_Foreign]] = {(): _Foreign}


def _kind_of_foreign(offered: tuple[str, ...]) -> type[_Foreign]:
    """The class of objects of the tests that offer these operations."""
    if offered not in _KINDS:
        _KINDS[offered] = type("_Foreign", (_Foreign,), {name: _operation(name) for name in offered if name in OFFERED})
    return _KINDS[offered]


def _operation(name: str) -> Callable[..., object]:
    def apply(self: _Foreign, *arguments: object) -> object:
        return self._call_back(self._number, name, arguments, (), ())

    return apply


def _is_function(value: object) -> bool:
    return isinstance(value, _FUNCTIONS) or type(value).__name__ in ("partial", "_lru_cache_wrapper")


def base_value(value: object) -> Json:
    """Plain value of an enum member that is also a number or a text."""
    if isinstance(value, int | float | str):
        return codec.encode(value)
    return None
