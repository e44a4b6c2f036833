"""Stand-ins for the program's objects inside the judge: every use is a call into the program's process.

Plain data comes back as itself, so most tests never hold a proxy to a result. What a proxy may do is limited where the
program could cheat: it never equals plain data, is never smaller or larger than plain data, and sees the other operand
of an operator only if the test itself constructed the object. Standard library only: this module runs inside the jail.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator
from types import FunctionType, MethodType
from typing import Any

from agent.sandbox.program import fault
from agent.sandbox.program.operations import OPERATIONS
from agent.sandbox.wire import codec, decoding
from agent.sandbox.wire.codec import Json
from agent.sandbox.wire.rpc import Connection, Gone, Remote

FAULT = "__burnish_fault__"
"""Attribute of an exception that came from the program: the fault record."""
NEEDS_PROCESS = "needs the program's own objects: mark the tests in_process"
_HANDLE = "__burnish_handle__"
_MAX_BASES = 100


class Program:
    """The program's process as the judge sees it."""

    def __init__(self, peer: Connection, shared: dict[str, type]) -> None:
        self.peer = peer
        self._shared = shared
        self._exported: list[object] = []
        self._stubs: dict[str, type[BaseException]] = {}

    def call(self, target: object, positional: tuple[object, ...], named: dict[str, object]) -> object:
        """Call an object of the program. Mutable arguments are updated to what it made of them."""
        reply = self._request("call", [target, list(positional), named])
        value = self.decode(reply.get("ok"))
        if "args" in reply:
            after = self.decode(reply["args"])
            if isinstance(after, list) and len(after) == 2:
                _merge(list(positional), after[0])
                _merge(named, after[1])
        if isinstance(value, Proxy) and isinstance(target, Proxy) and target.burnish_kind == "class":
            value.burnish_own = True
        return value

    def operate(self, name: str, *arguments: object) -> Any:
        """Apply an operation of `candidate._OPERATIONS`."""
        return self.decode(self._request(name, list(arguments)).get("ok"))

    def name(self, name: str) -> object:
        """The program's object of that name. Raises KeyError if there is none, or it cannot travel."""
        try:
            return self.decode(self.peer.request("name", name).get("ok"))
        except (Remote, codec.Unserialisable):
            raise KeyError(name) from None

    def decode(self, wire: Json) -> object:
        """A value from the program. Raises Unserialisable if it is too large; Gone if it is none: whoever answers like
        that is not the harness."""
        try:
            return decoding.decode(wire, self._resolve, self._shared, arrays=True)
        except codec.TooMuch as error:
            raise codec.Unserialisable(str(error)) from None
        except codec.Malformed as error:
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
                if str(name).startswith("_"):
                    raise AttributeError(name)
                target = getattr(target, name)
            value = target(*positional, **named)
            return {"ok": codec.encode(value, self._export, self._shared_name)}
        except Exception as error:
            return {"err": {"type": _builtin_name(error), "message": fault.message_of(error)}}

    def exception(self, described: dict[str, Json]) -> BaseException:
        """The exception that the program raised, as its class is known here."""
        bases = described.get("bases")
        names = [name for name in bases if type(name) is str] if type(bases) is list else []
        kind = self._stub(names)
        error = kind.__new__(kind)
        try:
            arguments = decoding.decode(described["args"]) if described.get("args") else None
        except codec.Malformed:
            arguments = None
        error.args = arguments if isinstance(arguments, tuple) else (str(described.get("message", "")),)
        setattr(error, FAULT, described)
        return error

    def _request(self, op: str, arguments: list[object]) -> dict[str, Json]:
        wire = codec.encode(arguments, self._export, self._shared_name)
        try:
            return self.peer.request(op, wire)
        except Remote as remote:
            if remote.fault.get("type") == "Unserialisable" and "bases" not in remote.fault:
                raise codec.Unserialisable(remote.fault.get("message")) from None
            raise self.exception(remote.fault) from None

    def _stub(self, names: list[str]) -> type[BaseException]:
        if not names:
            return Exception
        builtin = fault.builtin_base(names[:1])
        if builtin.__name__ == names[0]:
            return builtin
        if names[0] not in self._stubs:
            self._stubs[names[0]] = type(names[0], (self._stub(names[1:]),), {})
        return self._stubs[names[0]]

    def _resolve(self, wire: list[Json]) -> object:
        if wire[1] == "j":
            return self._exported[wire[2]]
        _, _, index, kind, name, extra = wire
        if kind == "class" and extra is not None:
            if len(extra) > _MAX_BASES:
                raise codec.Malformed("a class of too many bases")
            stub = self._stub(list(extra))
            if stub.__name__ in self._stubs:
                setattr(stub, _HANDLE, index)
            return stub
        owner, base = extra if kind == "object" else (None, None)
        proxy = Proxy.__new__(Proxy)
        proxy.burnish_init(self, index, kind, name, owner, base)
        return proxy

    def _export(self, value: object) -> list[Json]:
        if isinstance(value, Proxy):
            return ["h", "c", value.burnish_index]
        if isinstance(value, type) and _HANDLE in value.__dict__:
            return ["h", "c", value.__dict__[_HANDLE]]
        self._exported.append(value)
        return ["h", "j", len(self._exported) - 1]

    def _shared_name(self, value: object) -> str | None:
        name = type(value).__name__
        return name if self._shared.get(name) is type(value) else None


class Proxy:
    """One object of the program: a function, a class or an instance."""

    burnish_program: Program
    burnish_index: int
    burnish_kind: str
    burnish_name: str
    burnish_class: int | None
    burnish_base: object
    burnish_own: bool

    def burnish_init(self, program: Program, index: int, kind: str, name: str, owner: int | None, base: object) -> None:
        """Fill the fields; `owner` is the reference of the class, `base` the plain value of an enum member."""
        state = self.__dict__
        state["burnish_program"], state["burnish_index"], state["burnish_kind"] = program, index, kind
        state["burnish_name"], state["burnish_class"] = name, owner
        state["burnish_base"] = None if base is None else decoding.decode(base)
        state["burnish_own"] = False

    def __getattr__(self, name: str) -> Any:
        return self.burnish_program.operate("getattr", self, name)

    def __setattr__(self, name: str, value: object) -> None:
        if name == "burnish_own":
            self.__dict__[name] = value
            return
        self.burnish_program.operate("setattr", self, name, value)

    def __delattr__(self, name: str) -> None:
        self.burnish_program.operate("delattr", self, name)

    def __call__(self, *positional: object, **named: object) -> object:
        return self.burnish_program.call(self, positional, named)

    def __mro_entries__(self, bases: tuple[object, ...]) -> tuple[type, ...]:
        raise TypeError(f"a subclass of the program's {self.burnish_name} {NEEDS_PROCESS}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Proxy):
            return self.burnish_base is not None and bool(self.burnish_base == other)
        if self.burnish_index == other.burnish_index:
            return True
        if self.burnish_class is None or self.burnish_class != other.burnish_class:
            return False
        return self.burnish_program.operate("eq", self, other) is True

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return int(self.burnish_program.operate("hash", self))

    def __bool__(self) -> bool:
        return self.burnish_program.operate("bool", self) is True

    def __contains__(self, item: object) -> bool:
        if self.burnish_own or isinstance(item, Proxy):
            return bool(self.burnish_program.operate("contains", self, item))
        return any(item is held or item == held for held in self)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.burnish_program.operate("iter", self)) if self.burnish_kind == "class" else _Iterator(self)

    def __next__(self) -> Any:
        return self.burnish_program.operate("next", self)

    def __instancecheck__(self, value: object) -> bool:
        return isinstance(value, Proxy) and bool(self.burnish_program.operate("isinstance", value, self))

    def __subclasscheck__(self, kind: object) -> bool:
        return isinstance(kind, Proxy) and bool(self.burnish_program.operate("issubclass", kind, self))

    def __enter__(self) -> Any:
        return self.burnish_program.operate("enter", self)

    def __exit__(self, *details: object) -> bool:
        return bool(self.burnish_program.operate("exit", self))

    def __format__(self, spec: str) -> str:
        return str(self.burnish_program.operate("format", self, spec))

    def __round__(self, digits: int | None = None) -> Any:
        return self.burnish_program.operate("round", self, *([] if digits is None else [digits]))

    def __dir__(self) -> list[str]:
        return list(self.burnish_program.operate("dir", self))


class _Iterator:
    """Iterator over an object of the program, one call per step."""

    def __init__(self, proxy: Proxy) -> None:
        self._inner = proxy.burnish_program.operate("iter", proxy)

    def __iter__(self) -> _Iterator:
        return self

    def __next__(self) -> Any:
        return next(self._inner)


def _unary(name: str) -> Callable[[Proxy], Any]:
    def apply(self: Proxy) -> Any:
        return _owned(self, self.burnish_program.operate(name, self))

    return apply


def _binary(name: str) -> Callable[[Proxy, object], Any]:
    def apply(self: Proxy, other: object) -> Any:
        if self.burnish_base is not None and not isinstance(other, Proxy):
            return OPERATIONS[name](self.burnish_base, other)
        if not isinstance(other, Proxy) and not self.burnish_own:
            return NotImplemented
        return _owned(self, self.burnish_program.operate(name, self, other))

    return apply


def _reflected(name: str) -> Callable[[Proxy, object], Any]:
    def apply(self: Proxy, other: object) -> Any:
        if self.burnish_base is not None:
            return OPERATIONS[name](other, self.burnish_base)
        if not self.burnish_own:
            return NotImplemented
        return _owned(self, self.burnish_program.operate(name, other, self))

    return apply


def _owned(operand: Proxy, value: object) -> object:
    if isinstance(value, Proxy) and operand.burnish_own:
        value.burnish_own = True
    return value


for _name in ("len", "str", "repr", "int", "float", "index", "reversed"):
    setattr(Proxy, f"__{_name}__", _unary(_name))
for _name in ("abs", "neg", "pos", "invert"):
    setattr(Proxy, f"__{_name}__", _unary(_name))
for _name in ("lt", "le", "gt", "ge"):
    setattr(Proxy, f"__{_name}__", _binary(_name))
for _name in ("add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor"):
    setattr(Proxy, f"__{_name}__", _binary(_name))
    setattr(Proxy, f"__r{_name}__", _reflected(_name))
for _name in ("getitem", "setitem", "delitem"):
    setattr(
        Proxy,
        f"__{_name}__",
        lambda self, *arguments, _operation=_name: self.burnish_program.operate(_operation, self, *arguments),
    )


def _builtin_name(error: BaseException) -> str:
    return fault.builtin_base([kind.__name__ for kind in type(error).__mro__]).__name__


def _merge(old: Any, new: Any) -> Any:
    """Make `old` hold what `new` holds, keeping its identity and that of mutable values inside where kinds match."""
    if isinstance(old, list) and isinstance(new, list):
        kept = [_merge(old[i], new[i]) if i < len(old) else new[i] for i in range(len(new))]
        old[:] = kept
        return old
    if isinstance(old, dict) and isinstance(new, dict):
        merged = {key: _merge(old[key], value) if key in old else value for key, value in new.items()}
        old.clear()
        old.update(merged)
        return old
    if isinstance(old, set) and isinstance(new, set):
        old.clear()
        old.update(new)
        return old
    if isinstance(old, bytearray | collections.deque) and type(old) is type(new):
        old.clear()
        old.extend(new)
        return old
    plain = isinstance(old, int | float | str | bytes | tuple | Proxy | FunctionType | MethodType | type)
    if not plain and type(old) is type(new) and hasattr(old, "__dict__"):
        old.__dict__.clear()
        old.__dict__.update(new.__dict__)
        return old
    return new
