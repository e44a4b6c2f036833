"""What the program may do to objects of the tests.

It may call functions and methods, and use operators on objects whose classes the tests define. Attributes it may read
and set where an object is nothing but its attributes: what has methods may hide behind them what the program is asked
for. Names that begin with an underscore are nobody's business. Standard library only: this module runs inside the jail.
"""

from __future__ import annotations

import functools
import inspect
from types import CoroutineType, FunctionType, SimpleNamespace
from typing import Any

from agent.sandbox.program import abilities
from agent.sandbox.program.operations import OPERATIONS, call

_OF_TESTS = "tests"
"""Module of the classes that test code defines."""
_OF_ALL = frozenset(("call", "iter", "next", "len", "getitem", "contains"))
"""What may be done to objects of every class."""
_COPIES = ("copy", "deepcopy")
RECORD, COROUTINE, ASYNC = "record", "coroutine", "async"
"""Kinds of objects that the program holds as more than something to call."""


def told(value: object) -> list[Any]:
    """Special methods of an object, and its kind."""
    kind = ""
    if type(value) is CoroutineType:
        kind = COROUTINE
    elif inspect.iscoroutinefunction(value):
        kind = ASYNC
    elif _is_record(_kind(value)):
        kind = RECORD
    return [_abilities(_kind(value)), kind]


def use(target: Any, name: str, *arguments: Any) -> object:
    """Call the target, its method `name`, or what the operator `__name__` means. Raises AttributeError."""
    if not name:
        return call(target, *arguments)
    if not name.startswith("_"):
        return call(getattr(target, name), *arguments)
    special = name.strip("_")
    allowed = (*_COPIES, *abilities.names(_abilities(_kind(target))))
    if f"__{special}__" != name or special not in allowed:
        raise AttributeError(name)
    if special in abilities.REFLECTED:
        return OPERATIONS[special[1:]](*arguments[0], target)
    return OPERATIONS[special](target, *arguments[0])


def read(target: object, name: str) -> object:
    """An attribute of a record. Raises AttributeError."""
    _check(target, name)
    return getattr(target, name)


def write(target: object, name: str, value: object) -> None:
    """Set an attribute of a record. Raises AttributeError."""
    _check(target, name)
    setattr(target, name, value)


def _kind(value: object) -> Any:
    return type(value)


def _check(target: object, name: str) -> None:
    if type(name) is not str or name.startswith("_") or not _is_record(_kind(target)):
        raise AttributeError(name)


@functools.lru_cache(maxsize=256)
def _abilities(kind: Any) -> int:
    if kind.__module__ == _OF_TESTS:
        return abilities.of(kind)
    return abilities.of(kind, _OF_ALL)


@functools.lru_cache(maxsize=256)
def _is_record(kind: Any) -> bool:
    if kind is SimpleNamespace or "__dataclass_fields__" in kind.__dict__:
        return True
    if kind.__module__ != _OF_TESTS or issubclass(kind, BaseException | type):
        return False
    held = [value for each in kind.__mro__[:-1] for name, value in vars(each).items() if not name.startswith("_")]
    return not any(isinstance(value, FunctionType | classmethod | staticmethod) for value in held)
