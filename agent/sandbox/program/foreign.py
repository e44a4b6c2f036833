"""Objects of the tests as the program has them: every use is a call into the judge.

Standard library only: this module runs inside the jail.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agent.sandbox.program import abilities

Ask = Callable[..., object]
"""Uses an object of the judge: operation, number, arguments."""


def make(ask: Ask, number: int, can: int, kind: str) -> object:
    """What stands for the object of this number, with these special methods, of this kind: see `judge.offered`."""
    if kind == "coroutine":
        return _awaited(ask, number)
    if kind == "async":
        return _function(ask, number)
    made = _class_of(can, _Record if kind == "record" else _Foreign)
    return made(ask, number)


class _Foreign:
    """An object whose public methods can be called."""

    def __init__(self, ask: Ask, number: int) -> None:
        object.__setattr__(self, "_ask", ask)
        object.__setattr__(self, "_number", number)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)

        def method(*positional: object, **named: object) -> object:
            return self._ask("callback", self._number, name, positional, tuple(named), tuple(named.values()))

        return method

    def __copy__(self) -> Any:
        return self._ask("callback", self._number, "__copy__", (), (), ())

    def __deepcopy__(self, seen: object) -> Any:
        return self._ask("callback", self._number, "__deepcopy__", (), (), ())


class _Record(_Foreign):
    """An object with attributes."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._ask("read", self._number, name)

    def __setattr__(self, name: str, value: object) -> None:
        if name.startswith("_"):
            raise AttributeError(name)
        self._ask("write", self._number, name, value)


_CLASSES: dict[tuple[int, type[_Foreign]], type[_Foreign]] = {}


def _class_of(can: int, base: type[_Foreign]) -> type[_Foreign]:
    if (can, base) not in _CLASSES:
        names = abilities.names(can)
        methods: dict[str, Any] = {f"__{name}__": _operation(f"__{name}__") for name in names if name in _OPERATIONS}
        if "call" in names:
            methods["__call__"] = _call
        if "eq" in names:
            methods["__hash__"] = _operation("__hash__") if "hash" in names else None
        _CLASSES[can, base] = type("Foreign", (base,), methods)
    return _CLASSES[can, base]


def _call(self: Any, *positional: object, **named: object) -> object:
    return self._ask("callback", self._number, "", positional, tuple(named), tuple(named.values()))


def _operation(name: str) -> Callable[..., Any]:
    def apply(self: Any, *arguments: object) -> Any:
        return self._ask("callback", self._number, name, arguments, (), ())

    return apply


_OPERATIONS = frozenset(
    (*abilities.UNARY, *abilities.BINARY, *abilities.REFLECTED, *abilities.IN_PLACE, *abilities.EVERYBODYS,
     "contains", "getitem", "setitem", "delitem", "round")
) - {"aiter"}  # fmt: skip


async def _awaited(ask: Ask, number: int) -> object:
    return ask("await", number, "")


def _function(ask: Ask, number: int) -> Callable[..., Any]:
    async def function(*positional: object, **named: object) -> Any:
        called: Any = ask("callback", number, "", positional, tuple(named), tuple(named.values()))
        return await called

    return function
