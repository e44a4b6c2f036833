"""The program's objects that tests hold, and those of the tests that the program holds.

Each stays where it is and is known on the other side by a number. Standard library only: this module runs inside the
jail.
"""

from __future__ import annotations

import types

from agent.sandbox.program import abilities, foreign
from agent.sandbox.program.told import Told
from agent.sandbox.wire import codec
from agent.sandbox.wire.codec import Json
from agent.sandbox.wire.containers import MIRRORED, PROGRAM, Containers

_FUNCTIONS = (
    types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.MethodWrapperType,
)  # fmt: skip


class Exports:
    """The objects of one program."""

    def __init__(self, module: types.ModuleType, ask: foreign.Ask) -> None:
        self._module = module
        self._ask = ask
        self._given: frozenset[str] = frozenset()
        self._objects: list[object] = []
        self._indices: dict[int, int] = {}
        self._foreign: dict[int, object] = {}
        self._numbers: dict[int, int] = {}
        self._classes: dict[int, list[Json]] = {}
        self._overrides: dict[int, list[Json]] = {}
        self.containers = Containers(PROGRAM, self._reference, self._resolve, self._given_name, self._given_class, self)
        self.told = Told(lambda value: codec.encode(value, self._reference), self.number)

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

    def tell(self, value: object) -> list[Json] | None:
        """See `containers.Mirrors`: number, number and name of the class, what it overrides."""
        kind = type(value)
        plain = next((plain for plain in MIRRORED if isinstance(value, plain)), None)
        if plain is None or kind.__module__ != self._module.__name__:
            return None
        owner = self.number(kind)
        if owner not in self._overrides:
            self._overrides[owner] = abilities.below(kind, plain)
        return ["M", self.number(value), owner, kind.__name__[:200], *self._overrides[owner]]

    def make(self, told: list[Json], plain: object) -> object:
        """See `containers.Mirrors`: the tests' classes are not known here."""
        raise codec.Malformed("a value of a class of the tests")

    def _reference(self, value: object) -> list[Json]:
        if id(value) in self._numbers:
            return ["h", "j", self._numbers[id(value)]]
        extra: Json = None
        name = str(getattr(value, "__name__", "?"))
        if isinstance(value, type):
            kind = "class"
            extra = self.told.kinds(value) if issubclass(value, BaseException) else None
        elif _is_function(value):
            kind = "function" if type(value) is types.FunctionType else "callable"
        elif isinstance(value, types.GeneratorType | types.CoroutineType):
            kind = "generator" if isinstance(value, types.GeneratorType) else "coroutine"
        elif isinstance(value, BaseException):
            kind, extra = "error", self.told.of(value)
        else:
            kind, name = "object", type(value).__name__
            owner = self.number(type(value))
            if owner not in self._classes:
                self._classes[owner] = [abilities.of(type(value)), abilities.abstract(type(value))]
            extra = [owner, base_value(value), *self._classes[owner]]
        return ["h", "c", self.number(value), kind, name[:200], extra]

    def number(self, value: object) -> int:
        """By which the other side knows an object."""
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
            made = foreign.make(self._ask, number, *wire[3:])
            self._foreign[number], self._numbers[id(made)] = made, number
        return self._foreign[number]


def _is_function(value: object) -> bool:
    return isinstance(value, _FUNCTIONS) or type(value).__name__ in ("partial", "_lru_cache_wrapper")


def base_value(value: object) -> Json:
    """Plain value of an enum member that is also a number or a text."""
    if isinstance(value, int | float | str):
        return codec.encode(value)
    return None
