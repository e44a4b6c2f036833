"""Values of program classes below built-in ones: plain values here, with the methods of their classes.

They compare as the plain values that they are, whatever their classes say. What else a class overrides is the
program's where the test makes the object itself (see `proxy`), or where the plain value has no such method. What lists,
dicts and sets hold is the same on both sides, as `wire.containers` has it. Standard library only: this module runs
inside the jail.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from agent.sandbox.judge.proxy import Home, KindOfProxy, refuse_claim
from agent.sandbox.judge.special import METHODS, owned
from agent.sandbox.program import abilities

_PLAIN = frozenset(("eq", "lt", "le", "gt", "ge", "hash", "bool"))
"""Never the program's."""
_PROGRAMS = frozenset(("missing", "str", "repr"))
"""Always the program's."""


def kind_of_mirror(home: Home, plain: type, owner: int, name: str, can: int, names: Collection[str]) -> Any:
    """The kind for the class of this number and name, below `plain`; `can` and `names` tell what it overrides."""
    held: dict[str, Any] = {
        "burnish_home": home, "burnish_of": owner, "burnish_program": home, "burnish_base": None, "burnish_own": False,
        "burnish_become_own": _become_own, "__getattr__": _attribute, "__setattr__": _set, "__delattr__": _delete,
        "__copy__": _copy, "__deepcopy__": _deepcopy,
    }  # fmt: skip
    for each in names:
        if not each.startswith("_") and hasattr(plain, each):
            held[each] = _overridden(plain, each)
    for special in abilities.names(can):
        if special not in _PLAIN and special in METHODS:
            held[f"__{special}__"] = _special(plain, special)
    return KindOfProxy(name, (plain,), held)


def _become_own(self: Any) -> None:
    self.__dict__["burnish_own"] = True


def _attribute(self: Any, name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    if not self.burnish_own:
        refuse_claim(name)
    return self.burnish_program.attribute(self, name)


def _set(self: Any, name: str, value: object) -> None:
    self.burnish_program.operate("setattr", self, name, value)


def _delete(self: Any, name: str) -> None:
    self.burnish_program.operate("delattr", self, name)


def _copy(self: Any) -> Any:
    return owned(self, self.burnish_program.operate("copy", self))


def _deepcopy(self: Any, seen: object) -> Any:
    return owned(self, self.burnish_program.operate("deepcopy", self))


def _overridden(plain: type, name: str) -> property:
    def read(self: Any) -> Any:
        if not self.burnish_own:
            return getattr(super(type(self), self), name)
        return self.burnish_program.attribute(self, name)

    return property(read)


def _special(plain: type, name: str) -> Callable[..., Any]:
    method, own = METHODS[name], getattr(plain, f"__{name}__", None)
    if own is None or name in _PROGRAMS:
        return method

    def apply(self: Any, *arguments: Any) -> Any:
        return (method if self.burnish_own else own)(self, *arguments)

    return apply
