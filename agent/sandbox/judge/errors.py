"""Exceptions of the program as test code sees them.

What the program tells of one (`program.told`) decides which exception this is: a built-in one or one of a standard
module that the tests have imported is that exception, every other gets a class of its own here, below the same known
ones. Standard library only: this module runs inside the jail.
"""

from __future__ import annotations

import contextlib
from types import WrapperDescriptorType
from typing import Any

from agent.sandbox.judge.proxy import Home, refuse_claim
from agent.sandbox.program.told import known
from agent.sandbox.wire.codec import Json

FAULT = "__burnish_fault__"
"""Attribute of an exception that came from the program: the fault record."""
HANDLE = "__burnish_handle__"
"""Attribute of an exception, or a class of them, that the program knows by this number."""
_TEXT = "__burnish_text__"
_NOT_FOR_PROGRAMS = {"unittest"}
"""Packages whose exceptions steer the run of the tests."""
_MAX_KINDS = 100
_PLACES = {"start", "end", "object"}
"""Fields of errors of encoding that `_readable` checks together."""


class Errors:
    """The exceptions of one program and their classes."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._kinds: dict[Json, Any] = {}

    def kind(self, told: Json, at: int = 0) -> type[BaseException]:
        """The class told at one place of a list of them, nearest first, with places of the direct bases. Raises what it
        may if there can be no such class."""
        module, name, number, bases = told[at]
        found = _known(str(module), str(name)) if number is None else None
        if found is not None:
            return found
        key = (str(module), str(name)) if number is None else int(number)
        if key not in self._kinds:
            if len(told) > _MAX_KINDS or any(type(base) is not int or base <= at for base in bases):
                raise ValueError("bases are not behind their class")
            parents = tuple(dict.fromkeys(self.kind(told, base) for base in bases)) or (Exception,)
            made = _Kind(str(name).rpartition(".")[2], parents, {"__str__": _text, "__getattr__": _attribute})
            made.burnish_home = self._home
            if number is not None:
                setattr(made, HANDLE, int(number))
            self._kinds[key] = made
        kind: type[BaseException] = self._kinds[key]
        return kind

    def make(self, told: dict[str, Json], number: int | None = None) -> BaseException:
        """The exception itself. Raises as `kind` does."""
        if "test" in told:
            return self._home.raised(told["test"])
        kind = self.kind(told["kinds"])
        held = self._home.decode(told["args"]) if told.get("args") is not None else None
        arguments = held if isinstance(held, tuple) else (str(told.get("message", "")),)
        if issubclass(kind, BaseExceptionGroup):
            members: Any = [self.make(member) for member in told["members"]] or [Exception("left out")]
            error: BaseException = kind.__new__(kind, str(arguments[0] if arguments else ""), members)
        else:
            error = _filled(kind, arguments)
            error.args = arguments
        for name, wire in told.get("attributes", []):
            self._give(error, str(name), wire)
        if type(told.get("text")) is str:
            error.__dict__[_TEXT] = told["text"]
        if number is not None:
            error.__dict__[HANDLE] = number
        if told.get("cause") is not None:
            error.__cause__ = self.make(told["cause"])
        return error

    def _give(self, error: BaseException, name: str, wire: Json) -> None:
        value = self._home.decode(wire)
        if name == "__notes__" and type(value) is list:
            for note in value:
                error.add_note(str(note))
        elif not (name.startswith("__") or hasattr(BaseException, name) or name in _PLACES):
            with contextlib.suppress(AttributeError, TypeError, ValueError):
                setattr(error, name, value)


def travelling(error: BaseException) -> tuple[type[BaseException], tuple[object, ...]]:
    """Class and arguments under which an exception of the tests may reach the program: its own class if that is the
    program's, else the built-in one."""
    for kind in type(error).__mro__:
        if HANDLE in kind.__dict__ or kind.__module__ == "builtins":
            return kind, error.args
    return Exception, error.args


class _Kind(type):
    """Class of exceptions that is the program's."""

    burnish_home: Home

    def __call__(cls, *positional: object, **named: object) -> Any:
        if HANDLE not in cls.__dict__:
            return super().__call__(*positional, **named)
        return cls.burnish_home.call(cls, positional, named)

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__") or HANDLE not in cls.__dict__:
            raise AttributeError(f"type object {cls.__name__!r} has no attribute {name!r}")
        return cls.burnish_home.attribute(cls, name)


def _text(self: BaseException) -> str:
    told = self.__dict__.get(_TEXT)
    known: Any = next(kind for kind in type(self).__mro__ if not isinstance(kind, _Kind))
    return str(known.__str__(self) if told is None else told)


def _attribute(self: BaseException, name: str) -> Any:
    if name.startswith("__") or HANDLE not in self.__dict__:
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
    refuse_claim(name)
    return type(self).burnish_home.attribute(self, name)  # type: ignore[attr-defined]


def _known(module: str, name: str) -> type[BaseException] | None:
    """A built-in exception, or one of the standard library's that was imported here."""
    found = None if module.partition(".")[0] in _NOT_FOR_PROGRAMS else known(module, name)
    return found if isinstance(found, type) and issubclass(found, BaseException) else None


def _filled(kind: type[BaseException], arguments: tuple[object, ...]) -> BaseException:
    """An exception made by what is built in; of one with an `__init__` in Python only the object."""
    if isinstance(kind.__init__, WrapperDescriptorType):
        with contextlib.suppress(Exception):
            error: BaseException = type.__call__(kind, *arguments)
            if _readable(error):
                return error
    return kind.__new__(kind)


def _readable(error: BaseException) -> bool:
    """Whether the text of `error` can be made: places outside the text that could not be decoded are read unchecked."""
    if not isinstance(error, UnicodeDecodeError | UnicodeEncodeError | UnicodeTranslateError):
        return True
    return 0 <= error.start < error.end <= len(error.object)
