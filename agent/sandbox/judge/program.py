"""The program's process as the judge sees it.

Plain data comes back as itself, so most tests never hold a stand-in for a result. Standard library only: this module
runs inside the jail.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import unittest
from collections.abc import Callable
from typing import Any

from agent.sandbox.judge import offered
from agent.sandbox.judge.errors import FAULT, HANDLE, Errors, travelling
from agent.sandbox.judge.limits import Beyond
from agent.sandbox.judge.mirror import kind_of_mirror
from agent.sandbox.judge.proxy import KindOfProxy, Proxy, become_own
from agent.sandbox.judge.running import Running, coroutine, generator
from agent.sandbox.judge.special import CALLABLE, CLASS, FUNCTION, kind_of_proxy
from agent.sandbox.program import fault
from agent.sandbox.suite.awaiting import Nested
from agent.sandbox.suite.minipytest import Skipped
from agent.sandbox.wire import codec, decoding
from agent.sandbox.wire.codec import Json
from agent.sandbox.wire.containers import JUDGE, MIRRORED, Containers
from agent.sandbox.wire.rpc import Answer, Connection, Gone, Remote

_NOTHING: Json = {"v": None}
_ANSWERS = ("call", "wait")
_STEERING = frozenset(("StopIteration", "StopAsyncIteration", "GeneratorExit", "CancelledError"))
"""Exceptions that end loops and tasks in silence: only tests that name them get them from a call."""
_VERDICTS = (AssertionError, unittest.SkipTest, Skipped)
"""What test code says with an exception."""


Connect = Callable[[Answer, Callable[[], None]], Connection]
"""Makes the connection, as `Peer` with its descriptor."""


class Program:
    """Calls in both directions, and the objects that each side holds of the other."""

    def __init__(self, connect: Connect, given: dict[str, type]) -> None:
        """`given` are the classes that the problem statement gives."""
        self._given = given
        self._containers = Containers(JUDGE, self._export, self._resolve, self._given_name, given.__getitem__, self)
        self.peer = connect(self.answer, self._containers.unsent)
        self._exported: list[object] = []
        self._numbers: dict[int, int] = {}
        self._proxies: dict[int, object] = {}
        self._kinds: dict[int, type[Proxy]] = {}
        self._mirrors: dict[tuple[int, type], Any] = {}
        self._running: dict[int, int] = {}
        self._errors = Errors(self)
        self._nested = Nested()
        self.tests = ""
        """Source of the test code that runs."""
        self._refuted: BaseException | None = None
        """What ended a function of the test code that the program called: an assertion, or the wish to be skipped."""
        self._turn = threading.RLock()
        """Test code may have threads; the program answers one after another."""

    def call(self, target: object, positional: tuple[object, ...], named: dict[str, object]) -> object:
        """Call an object of the program."""
        value = self._request("call", (target, positional, tuple(named), tuple(named.values())))
        if isinstance(target, Proxy) and target.burnish_builds:
            become_own(value)
        return value

    def operate(self, name: str, *arguments: object) -> Any:
        """Apply an operation of `OPERATIONS`."""
        return self._request(name, arguments)

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
            return _known_as(name, self._read(self.peer.request("name", name).get("ok")))
        except (Remote, Beyond):
            raise KeyError(name) from None

    def function(self, name: str, number: int) -> object:
        """The program's function of that name and number."""
        return _known_as(name, self._proxy(number, "function", name, None))

    def class_of(self, kind: KindOfProxy) -> Any:
        """The class whose instances have stand-ins of this kind."""
        return self._proxy(kind.burnish_of, "class", kind.__name__, None)

    def decode(self, wire: Json) -> object:
        """See `proxy.Home`. Raises as `_read`."""
        return self._read(wire, functools.partial(decoding.decode, resolve=self._resolve, arrays=True))

    def _read(self, wire: Json, decode: Callable[[Json], object] | None = None) -> object:
        """A value from the program. Raises Beyond if it is too large; Gone if it is none: whoever answers like that is
        not the harness."""
        try:
            return (decode or self._containers.decode)(wire)
        except codec.TooMuch as error:
            raise Beyond(str(error)) from None
        except (codec.Malformed, RecursionError) as error:
            raise Gone(str(error)) from None

    def answer(self, op: str, wire: Json) -> dict[str, Json]:
        """Serve a call from the program to a function or object of the test code."""
        try:
            return {"ok": self._containers.encode(self._used(op, wire))}
        except Exception as error:
            if isinstance(error, _VERDICTS):
                self._refuted = self._refuted or error
                error = AssertionError(fault.message_of(error))
            return {"err": self._told(error)}

    def _used(self, op: str, wire: Json) -> object:
        """What comes of a use of an object of the test code; no argument is held here after it."""
        decoded: Any = self._containers.decode(wire)
        name, *arguments = decoded
        target: Any = self._exported[wire["h"]]
        if op == "read":
            return offered.read(target, name)
        if op == "write":
            offered.write(target, name, *arguments)
            return None
        if op == "await":
            return self._nested.run(target)
        if op != "callback":
            raise TypeError(f"unknown operation {op}")
        return offered.use(target, name, *arguments)

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

    def _request(self, op: str, arguments: tuple[object, ...]) -> Any:
        with self._turn:
            try:
                reply, described = self.peer.request(op, self._containers.encode(arguments)), None
            except Remote as remote:
                reply, described = {"ok": remote.fault.get("changed") or _NOTHING}, remote.fault
            refuted, self._refuted = self._refuted, None
            try:
                value = self._read(reply.get("ok"))
            except Exception:
                if refuted is None:
                    raise
        if refuted is not None:
            raise refuted
        if described is None:
            return value
        if described.get("type") == "Unserialisable" and "bases" not in described:
            raise Beyond(described.get("message"))
        error = self.exception(described)
        steering = {kind.__name__ for kind in type(error).__mro__} & _STEERING
        if steering and op in _ANSWERS and not any(name in self.tests for name in steering):
            stopped = RuntimeError(f"the program raised {type(error).__name__}")
            setattr(stopped, FAULT, described)
            raise stopped
        raise error

    def _told(self, error: Exception) -> dict[str, Json]:
        """What the program is told of an exception of the test code."""
        kind, arguments = travelling(error)
        told: dict[str, Json] = {"type": kind.__name__, "message": fault.message_of(error)}
        with contextlib.suppress(codec.Unserialisable):
            told["raised"] = self._containers.encode((kind, arguments))
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
            owner, base, told, below = extra if kind == "object" else (None, None, 0, ())
            if owner is None:
                made_of = {"class": CLASS, "function": FUNCTION}.get(kind, CALLABLE)
            else:
                if owner not in self._kinds:
                    self._kinds[owner] = kind_of_proxy(self, owner, name, told, below)
                made_of = self._kinds[owner]
            made = made_of.__new__(made_of)
            made.burnish_init(self, index, kind, name, owner, None if base is None else decoding.decode_scalar(base))
            self._proxies[index] = made
        return self._proxies[index]

    def tell(self, value: object) -> list[Json] | None:
        """See `containers.Mirrors`: the classes of the tests are theirs."""
        if isinstance(type(value), KindOfProxy) and not isinstance(value, list | dict | set):
            return ["h", "c", value.burnish_index]  # type: ignore[attr-defined]
        return None

    def make(self, told: list[Json], plain: object) -> object:
        """See `containers.Mirrors`."""
        index, owner, name, can, names = told
        key = int(owner), type(plain)
        if type(plain) not in MIRRORED:
            raise codec.Malformed("a class below no such")
        if key not in self._mirrors:
            self._mirrors[key] = kind_of_mirror(self, type(plain), key[0], str(name), can, names)
        kind = self._mirrors[key]
        made = kind.__new__(kind) if isinstance(plain, list | dict | set) else kind.__new__(kind, plain)
        made.__dict__["burnish_index"] = index
        return made

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
        return ["h", "j", self._numbers[id(value)], *offered.told(value)]

    def _given_name(self, value: object) -> str | None:
        name = type(value).__name__
        return name if self._given.get(name) is type(value) else None


def _known_as(name: str, value: object) -> object:
    if isinstance(value, Proxy):
        value.burnish_known_as(name)
    return value
