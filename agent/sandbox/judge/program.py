"""The program's process as the judge sees it.

Plain data comes back as itself, so most tests never hold a stand-in for a result. Standard library only: this module
runs inside the jail.
"""

from __future__ import annotations

import contextlib
import threading
import unittest
from collections.abc import Mapping, Sequence
from typing import Any

from agent.sandbox.judge.errors import FAULT, HANDLE, Errors, travelling
from agent.sandbox.judge.limits import Beyond
from agent.sandbox.judge.merging import merge
from agent.sandbox.judge.proxy import KindOfProxy, Proxy, kind_of_proxy
from agent.sandbox.judge.running import Running, coroutine, generator
from agent.sandbox.program import fault
from agent.sandbox.program.exports import OFFERED
from agent.sandbox.suite.minipytest import Skipped
from agent.sandbox.wire import codec, decoding
from agent.sandbox.wire.codec import Json
from agent.sandbox.wire.rpc import Connection, Gone, Remote

_NONE: dict[str, Any] = {}
_ANSWERS = ("call", "await")
_STEERING = frozenset(("StopIteration", "StopAsyncIteration", "GeneratorExit", "CancelledError"))
"""Exceptions that end loops and tasks in silence: only tests that name them get them from a call."""
_VERDICTS = (AssertionError, unittest.SkipTest, Skipped)
"""What test code says with an exception."""


class Program:
    """Calls in both directions, and the objects that each side holds of the other."""

    def __init__(self, peer: Connection, shared: dict[str, type]) -> None:
        self.peer = peer
        self._shared = shared
        self._exported: list[object] = []
        self._numbers: dict[int, int] = {}
        self._proxies: dict[int, object] = {}
        self._kinds: dict[int, type[Proxy]] = {}
        self._running: dict[int, int] = {}
        self._kept: list[object] = []
        self._errors = Errors(self)
        self.tests = ""
        """Source of the test code that runs."""
        self._refuted: BaseException | None = None
        """What ended a function of the test code that the program called: an assertion, or the wish to be skipped."""
        self._turn = threading.RLock()
        """Test code may have threads; the program answers one after another."""

    def call(self, target: object, positional: tuple[object, ...], named: dict[str, object]) -> object:
        """Call an object of the program. Mutable arguments are updated to what it made of them."""
        reply = self._request("call", [target, list(positional), named])
        self._follow(reply, positional, named)
        value = self.decode(reply.get("ok"))
        if isinstance(value, Proxy) and isinstance(target, Proxy) and target.burnish_builds:
            value.burnish_become_own()
        return value

    def operate(self, name: str, *arguments: object) -> Any:
        """Apply an operation of `OPERATIONS`."""
        reply = self._request(name, list(arguments))
        self._follow(reply)
        return self.decode(reply.get("ok"))

    def leave(self, name: str, target: object, error: BaseException | None) -> bool:
        """See `proxy.Home`. A program keeps no verdict of the tests to itself."""
        if error is None:
            return bool(self.operate(name, target))
        kind, arguments = travelling(error)
        try:
            kept = self.operate(name, target, kind, arguments)
        except codec.Unserialisable:
            kept = self.operate(name, target, kind, (str(error),))
        return bool(kept) and not isinstance(error, _VERDICTS)

    def attribute(self, target: object, name: str) -> Any:
        """An attribute of an object of the program."""
        return _known_as(name, self.operate("getattr", target, name))

    def name(self, name: str) -> object:
        """The program's object of that name. Raises KeyError if there is none, or it cannot travel."""
        try:
            return _known_as(name, self.decode(self.peer.request("name", name).get("ok")))
        except (Remote, Beyond):
            raise KeyError(name) from None

    def class_of(self, kind: KindOfProxy) -> Any:
        """The class whose instances have stand-ins of this kind."""
        return self._proxy(kind.burnish_of, "class", kind.__name__, None)

    def decode(self, wire: Json) -> object:
        """A value from the program. Raises Beyond if it is too large; Gone if it is none: whoever answers like that is
        not the harness."""
        try:
            return decoding.decode(wire, self._resolve, self._shared, arrays=True)
        except codec.TooMuch as error:
            raise Beyond(str(error)) from None
        except (codec.Malformed, RecursionError) as error:
            raise Gone(str(error)) from None

    def answer(self, op: str, wire: Json) -> dict[str, Json]:
        """Serve a call from the program to a function or object of the test code."""
        try:
            if op != "callback":
                raise TypeError(f"unknown operation {op}")
            decoded: Any = decoding.decode(wire, self._resolve, self._shared)
            name, positional, named = decoded
            target: Any = self._exported[wire["h"]]
            if name:
                if str(name).startswith("_") and name not in OFFERED:
                    raise AttributeError(name)
                target = getattr(target, name)
            return {"ok": self._encode(target(*positional, **named))}
        except Exception as error:
            if isinstance(error, _VERDICTS):
                self._refuted = self._refuted or error
                return {"err": {"type": "AssertionError", "message": fault.message_of(error)}}
            return {"err": self._told(error)}

    def exception(self, described: dict[str, Json]) -> BaseException:
        """The exception that the program raised, as its class is known here. Raises Gone if there can be none such:
        what fails here must not look like the program's failure."""
        told = described.get("told")
        try:
            if type(told) is not dict:
                kind = fault.builtin_base([str(described.get("type"))])
                error = kind(str(described.get("message", "")))
            else:
                error = self._errors.make(told)
            setattr(error, FAULT, described)
        except Exception as failure:
            raise Gone(f"an exception that cannot be made: {type(failure).__name__}") from None
        return error

    def raised(self, number: Json) -> Exception:
        """An exception that test code raised in a call of the program. Raises what it may if there is none."""
        error = self._resolve(["h", "j", number])
        if not isinstance(error, Exception):
            raise TypeError("an exception of the tests that is none")
        return error

    def _request(self, op: str, arguments: list[object]) -> dict[str, Json]:
        wire = self._encode(arguments)
        with self._turn:
            try:
                reply, described = self.peer.request(op, wire), None
            except Remote as remote:
                reply, described = {}, remote.fault
            refuted, self._refuted = self._refuted, None
        if refuted is not None:
            raise refuted
        if described is None:
            return reply
        if described.get("type") == "Unserialisable" and "bases" not in described:
            raise Beyond(described.get("message"))
        error = self.exception(described)
        steering = {kind.__name__ for kind in type(error).__mro__} & _STEERING
        if steering and op in _ANSWERS and not any(name in self.tests for name in steering):
            stopped = RuntimeError(f"the program raised {type(error).__name__}")
            setattr(stopped, FAULT, described)
            raise stopped
        raise error

    def _follow(self, reply: dict[str, Json], positional: Sequence[Any] = (), named: Mapping[str, Any] = _NONE) -> None:
        """Make mutable arguments what the program made of them: those of this call, and those it kept before. Raises
        Gone."""
        if not ("args" in reply or "changed" in reply):
            return
        shared = self._shared.values()
        try:
            if "args" in reply:
                after: Any = self.decode(reply["args"])
                merge(list(positional), after[0], shared)
                merge(dict(named), after[1], shared)
            for place in reply.get("kept", ()):
                self._kept.append(named[place] if type(place) is str else positional[place])
            for number, wire in reply.get("changed", ()):
                merge(self._kept[number], self.decode(wire), shared)
        except (TypeError, ValueError, LookupError) as error:
            raise Gone(f"not arguments after a call: {type(error).__name__}") from None

    def _encode(self, value: object) -> Json:
        return codec.encode(value, self._export, self._shared_name)

    def _told(self, error: Exception) -> dict[str, Json]:
        """What the program is told of an exception of the test code."""
        kind, arguments = travelling(error)
        told: dict[str, Json] = {"type": kind.__name__, "message": fault.message_of(error)}
        with contextlib.suppress(codec.Unserialisable):
            told["raised"] = self._encode([kind, list(arguments)])
            told["test"] = self._export(error)[2]
        return told

    def _resolve(self, wire: list[Json]) -> object:
        if wire[1] == "j":
            if type(wire[2]) is not int or wire[2] < 0:
                raise codec.Malformed("a number of a test object that is none")
            return self._exported[wire[2]]
        _, _, index, kind, name, extra = wire
        if type(index) is not int or type(name) is not str:
            raise codec.Malformed("a reference without number or name")
        if kind == "class" and extra is not None:
            return self._errors.kind(extra)
        if kind in ("generator", "coroutine"):
            return self._run(index, kind, name)
        if kind == "error" and index not in self._proxies:
            self._proxies[index] = self._errors.make(extra, index)
        return self._proxy(index, kind, name, extra)

    def _proxy(self, index: int, kind: str, name: str, extra: Json) -> object:
        """The one stand-in for the object of this number."""
        if index not in self._proxies:
            owner, base = extra if kind == "object" else (None, None)
            if owner is None:
                made = Proxy.__new__(Proxy)
            else:
                if owner not in self._kinds:
                    self._kinds[owner] = kind_of_proxy(self, owner, name)
                made = self._kinds[owner].__new__(self._kinds[owner])
            made.burnish_init(self, index, kind, name, owner, None if base is None else decoding.decode_scalar(base))
            self._proxies[index] = made
        return self._proxies[index]

    def _run(self, index: int, kind: str, name: str) -> object:
        """The generator or coroutine of this number."""
        if index not in self._proxies:
            inner = Proxy.__new__(Proxy)
            inner.burnish_init(self, index, kind, name)
            made: Running = generator(inner) if kind == "generator" else coroutine(inner)
            self._proxies[index], self._running[id(made)] = made, index
        return self._proxies[index]

    def _export(self, value: object) -> list[Json]:
        if isinstance(value, Proxy):
            return ["h", "c", value.burnish_index]
        state = getattr(value, "__dict__", None) if isinstance(value, type | BaseException) else None
        if state is not None and HANDLE in state:
            return ["h", "c", state[HANDLE]]
        if id(value) in self._running:
            return ["h", "c", self._running[id(value)]]
        if id(value) not in self._numbers:
            self._numbers[id(value)] = len(self._exported)
            self._exported.append(value)
        offered = [name for name in OFFERED if hasattr(type(value), name)]
        return ["h", "j", self._numbers[id(value)], offered]

    def _shared_name(self, value: object) -> str | None:
        name = type(value).__name__
        return name if self._shared.get(name) is type(value) else None


def _known_as(name: str, value: object) -> object:
    if isinstance(value, Proxy):
        value.burnish_known_as(name)
    return value
