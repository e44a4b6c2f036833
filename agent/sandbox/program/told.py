"""What is told of an exception as an object, beside the fault record: enough for tests to see the same one.

Standard library only: this module runs inside the jail.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import islice
from types import FunctionType, GetSetDescriptorType, MemberDescriptorType
from typing import Any

from agent.sandbox.wire import codec, frames
from agent.sandbox.wire.codec import Json

OF_TESTS = "__burnish_test__"
"""Attribute of an exception that test code raised in a call of the program: its number there."""
_MAX_BYTES = 64 * 1024
"""Of each part."""
_MAX_ATTRIBUTES = 100
_MAX_KINDS = 64
_DEPTH = 4
"""Of causes and groups."""
_LEFT_OUT = {"args", "obj", "print_file_and_line", "exceptions"}
"""Fields of built-in exceptions that travel by other ways or not at all."""


class Told:
    """Tells of exceptions, with references for what is not plain: `encode`, and `number` for classes."""

    def __init__(self, encode: Callable[[object], Json], number: Callable[[object], int]) -> None:
        self._encode = encode
        self._number = number

    def of(self, error: BaseException, depth: int = 0) -> dict[str, Json]:
        """The exception: classes, arguments, attributes, its text where the class makes that, members, cause."""
        number = error.__dict__.get(OF_TESTS)
        if number is not None:
            return {"test": number}
        own = [kind for kind in type(error).__mro__ if not is_known(kind)]
        members = getattr(error, "exceptions", ()) if isinstance(error, BaseExceptionGroup) else ()
        cause = error.__cause__
        return {
            "kinds": self.kinds(type(error)),
            "args": self._plain(error.args[:1] if members else error.args),
            "message": _text(error),
            "text": _text(error) if isinstance(type(error).__str__, FunctionType) else None,
            "attributes": [
                [name, wire]
                for name, value in islice(_attributes(error, own), _MAX_ATTRIBUTES)
                if (wire := self._plain(value)) is not None
            ],
            "members": [self.of(member, depth + 1) for member in members[: 100 if depth < _DEPTH else 0]],
            "cause": self.of(cause, depth + 1) if cause is not None and depth < _DEPTH else None,
        }

    def kinds(self, kind: type) -> Json:
        """The class and those above it, nearest first: module, name, number if it is the program's own, places of the
        direct bases."""
        order = [each for each in kind.__mro__ if issubclass(each, BaseException)][:_MAX_KINDS]
        places = {each: place for place, each in enumerate(order)}
        return [
            [
                str(each.__module__),
                str(each.__qualname__)[:200],
                None if is_known(each) else self._number(each),
                [places[base] for base in each.__bases__ if base in places],
            ]
            for each in order
        ]

    def _plain(self, value: object) -> Json:
        """`value` encoded; None where it cannot be, or is large."""
        try:
            encoded = self._encode(value)
            return encoded if len(frames.pack(encoded)) <= _MAX_BYTES else None
        except (codec.Unserialisable, RecursionError, MemoryError):
            return None


def is_known(kind: type) -> bool:
    """Whether `kind` is a built-in class or one of the standard library."""
    return known(str(kind.__module__), kind.__qualname__) is kind


def known(module: str, name: str) -> Any:
    """What an imported module of the standard library has under a name; None if it is no such."""
    if module.partition(".")[0] not in sys.stdlib_module_names:
        return None
    return getattr(sys.modules.get(module), name, None)


def _attributes(error: BaseException, own: list[type]) -> Iterator[tuple[str, object]]:
    """What the exception holds, what its own classes hold for all of them, and fields of built-in ones."""
    yield from list(error.__dict__.items())
    for kind in own:
        for name, value in list(vars(kind).items()):
            if not name.startswith("__") and (isinstance(value, property) or not callable(value)):
                yield from _field(error, name)
    for kind in type(error).__mro__:
        for name, value in list(vars(kind).items()) if kind.__module__ == "builtins" else ():
            if isinstance(value, MemberDescriptorType | GetSetDescriptorType) and name not in _LEFT_OUT:
                yield from _field(error, name)


def _field(error: Any, name: str) -> Iterator[tuple[str, object]]:
    if name.startswith("__"):
        return
    try:
        value = getattr(error, name)
    except Exception:
        return
    if value is not None:
        yield name, value


def _text(error: BaseException) -> str | None:
    try:
        return str(error)[:_MAX_BYTES]
    except Exception:
        return None
