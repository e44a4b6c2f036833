"""What a stand-in can do: it has those special methods that the class of the program's object has.

Standard library only: this module runs inside the jail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import FunctionType
from typing import Any

from agent.sandbox.judge import abstract
from agent.sandbox.judge.proxy import Home, KindOfProxy, Proxy, become_own
from agent.sandbox.judge.running import coroutine
from agent.sandbox.program import abilities
from agent.sandbox.program.operations import OPERATIONS

_Method = Callable[..., Any]
_COMMON: dict[str, Any] = {"__slots__": (), "__doc__": vars(Proxy)["__doc__"]}


def kind_of_proxy(home: Home, owner: int, name: str, told: int, below: Iterable[list[str]]) -> type[Proxy]:
    """The kind for the class of this number and name, with what `abilities.of` and `abilities.abstract` told."""
    can = abilities.names(told)
    methods: dict[str, Any] = {f"__{each}__": METHODS[each] for each in can if each in METHODS}
    if "hash" not in can:
        methods["__hash__"] = None
    made: Any = KindOfProxy(name, (Proxy,), {**_COMMON, **methods, "burnish_home": home, "burnish_of": owner})
    kind: type[Proxy] = made
    abstract.register(kind, below)
    return kind


def _call(self: Proxy, *positional: object, **named: object) -> object:
    return self.burnish_program.call(self, positional, named)


def _contains(self: Any, item: object) -> bool:
    if self.burnish_own or isinstance(item, Proxy):
        return bool(self.burnish_program.operate("contains", self, item))
    return any(item is held or item == held for held in self)


def _bool(self: Proxy) -> bool:
    return self.burnish_program.operate("bool", self) is True


def _round(self: Proxy, digits: int | None = None) -> Any:
    return self.burnish_program.operate("round", self, *([] if digits is None else [digits]))


def _exit(self: Proxy, kind: object, error: BaseException | None, trace: object) -> bool:
    return bool(self.burnish_program.leave("exit", self, error))


async def _anext(self: Proxy) -> Any:
    return self.burnish_program.operate("anext", self)


async def _aenter(self: Proxy) -> Any:
    return self.burnish_program.operate("aenter", self)


async def _aexit(self: Proxy, kind: object, error: BaseException | None, trace: object) -> bool:
    return bool(self.burnish_program.leave("aexit", self, error))


def _await(self: Proxy) -> Any:
    return coroutine(self).__await__()


def _plain(name: str) -> _Method:
    def apply(self: Proxy, *arguments: object) -> Any:
        return self.burnish_program.operate(name, self, *arguments)

    return apply


def _unary(name: str) -> _Method:
    def apply(self: Proxy) -> Any:
        return owned(self, self.burnish_program.operate(name, self))

    return apply


def binary(name: str) -> _Method:
    """A method for an operator."""

    def apply(self: Proxy, other: object) -> Any:
        if self.burnish_base is not None and not isinstance(other, Proxy):
            return OPERATIONS[name](self.burnish_base, other)
        if not isinstance(other, Proxy) and not self.burnish_own:
            return NotImplemented
        return owned(self, self.burnish_program.operate(name, self, other))

    return apply


def _reflected(name: str) -> _Method:
    def apply(self: Proxy, other: object) -> Any:
        if self.burnish_base is not None:
            return OPERATIONS[name](other, self.burnish_base)
        if not self.burnish_own:
            return NotImplemented
        return owned(self, self.burnish_program.operate(name, other, self))

    return apply


def owned(operand: Any, value: object) -> object:
    """`value`, which was made of `operand`: as much the test's own."""
    if operand.burnish_own:
        become_own(value)
    return value


METHODS: dict[str, _Method] = {
    **{name: _plain(name) for name in ("iter", "next", "aiter", "enter", "getitem", "setitem", "delitem")},
    **{name: _unary(name) for name in abilities.UNARY if name not in ("iter", "next", "aiter", "bool")},
    **{name: binary(name) for name in (*abilities.BINARY, *abilities.IN_PLACE)},
    **{name: _reflected(name[1:]) for name in abilities.REFLECTED},
    "call": _call, "contains": _contains, "bool": _bool, "round": _round, "exit": _exit, "anext": _anext,
    "aenter": _aenter, "aexit": _aexit, "await": _await, "missing": _plain("missing"), "str": _plain("str"),
    "repr": _plain("repr"),
}  # fmt: skip
"""By name, without the underscores; each is a call into the program."""

for _name in ("lt", "le", "gt", "ge"):
    setattr(Proxy, f"__{_name}__", binary(_name))


CALLABLE: Any = type("Callable", (Proxy,), {**_COMMON, "__call__": _call})
"""Kind for methods, built-in functions and what else is nothing but called."""
FUNCTION: Any = type("Function", (CALLABLE,), {**_COMMON, "__class__": property(lambda self: FunctionType)})
"""Kind for functions: `inspect` takes them for such, and reads of them what it needs."""
CLASS: Any = type(
    "Class",
    (Proxy,),
    {
        **_COMMON,
        **{f"__{name}__": METHODS[name] for name in ("call", "iter", "len", "contains", "getitem", "or")},
        "__bool__": lambda self: True,
        "__class__": property(lambda self: type),
    },
)
"""Kind for classes. Some can do less, which is known when it is tried."""
