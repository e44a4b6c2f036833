"""Abstract classes of the standard library, which know real classes only, and classes of the program below them.

Standard library only: this module runs inside the jail.
"""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Iterable
from typing import Any

from agent.sandbox.judge.proxy import Proxy
from agent.sandbox.program.told import known

_is_below = ABCMeta.__subclasscheck__


def settle() -> None:
    """Let `issubclass` of an abstract class answer for stand-ins of classes too."""
    ABCMeta.__subclasscheck__ = _subclasscheck  # type: ignore[method-assign]


def register(kind: type, told: Iterable[list[str]]) -> None:
    """Put `kind` below the abstract classes that `abilities.abstract` told, as far as they are known here."""
    for module, name in told:
        found = known(module, name)
        if type(found) is ABCMeta:
            found.register(kind)


def _subclasscheck(cls: ABCMeta, kind: Any) -> bool:
    if not isinstance(kind, Proxy):
        return _is_below(cls, kind)
    ask = kind.burnish_program.attribute
    wanted = cls.__module__, cls.__name__
    return any((ask(each, "__module__"), ask(each, "__name__")) == wanted for each in ask(kind, "__mro__"))
