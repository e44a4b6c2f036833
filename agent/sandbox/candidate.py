"""Runs beside the submitted program, in its process, and answers calls to it.

Nothing here is trusted by anyone: the program can change every object in this process. What leaves it is read as plain
data by the other side. Standard library only.
"""

from __future__ import annotations

import ast
import atexit
import faulthandler
import gc
import linecache
import mmap
import operator
import os
import random
import signal
import socket
import sys
import threading
import types
import warnings
from collections.abc import Callable
from typing import Any

from agent.sandbox import codec, fault, trace
from agent.sandbox.codec import Json
from agent.sandbox.rpc import Gone, Peer, Remote

PRELUDE = "<prelude>"
MODULE = "solution"

_COPIED_BACK = (list, dict, set, bytearray)


def run(rpc_fd: int, trace_fd: int) -> int:
    """Load the program that the first frame brings and serve it; returns the exit status of the process."""
    connection = socket.socket(fileno=rpc_fd)
    program = _Program(connection, trace_fd)
    try:
        order = program.peer.receive()
        if order.get("mode") == "main":
            return program.run_as_main(order)
        program.load(order)
        program.peer.serve()
    except Gone:
        return 0
    return 0


class _Program:
    def __init__(self, connection: socket.socket, trace_fd: int) -> None:
        self.peer = Peer(connection, self._answer)
        self._trace_fd = trace_fd
        self._source = ""
        self._statements: trace.Statements | None = None
        self._module = types.ModuleType(MODULE)
        self._shared: frozenset[str] = frozenset()
        self._objects: list[object] = []
        self._indices: dict[int, int] = {}
        self._stdout = sys.stdout

    def load(self, order: dict[str, Json]) -> None:
        """Execute prelude and program as a module and send `{"names": ...}` or `{"fault": ...}`."""
        self._prepare(order, MODULE)
        try:
            given = self._execute(order)
        except BaseException as error:
            self._report(error)
            return
        self._flush()
        self.peer.send({"names": self._names(given, order.get("entry_point"))})

    def run_as_main(self, order: dict[str, Json]) -> int:
        """Execute the program as a script; its fault, if any, is sent before the process ends."""
        self._prepare(order, "__main__")
        status = 0
        try:
            self._execute(order)
        except SystemExit as error:
            status = _exit_status(error)
            if status != 0:
                self._report(error)
        except BaseException as error:
            status = 1
            self._report(error)
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        self._flush()
        return status

    def _prepare(self, order: dict[str, Json], name: str) -> None:
        self._source = str(order["code"])
        self._module = types.ModuleType(name)
        self._module.__dict__["__builtins__"] = __builtins__
        for known in [known for known in sys.modules if known.split(".")[0] == "agent"]:
            del sys.modules[known]
        sys.modules["__main__"] = types.ModuleType("__main__")
        sys.modules[name] = self._module
        sys.argv = ["program.py"]
        linecache.cache[trace.PROGRAM] = (
            len(self._source), None, self._source.splitlines(keepends=True), trace.PROGRAM,
        )  # fmt: skip
        end_of_hits = self._source.count("\n") + self._source.count("\r") + 1
        os.lseek(self._trace_fd, end_of_hits, os.SEEK_SET)
        faulthandler.register(signal.SIGUSR2, file=self._trace_fd, all_threads=False)
        self._hits = mmap.mmap(self._trace_fd, end_of_hits)
        random.seed(0)
        gc.enable()
        sys.setrecursionlimit(1000 + _depth())

    def _execute(self, order: dict[str, Json]) -> dict[str, object]:
        """Run prelude and program; returns what the prelude defined."""
        namespace = self._module.__dict__
        prelude = str(order.get("prelude") or "")
        if prelude:
            exec(compile(prelude, PRELUDE, "exec", dont_inherit=True), namespace)
        given = dict(namespace)
        self._shared = frozenset(
            name
            for name, value in given.items()
            if isinstance(value, type) and value.__module__ == self._module.__name__
        )
        code = self._compile()
        self.peer.send({"stage": "compiled"})
        if trace.MONITORING and self._statements is not None:
            trace.monitor(code, self._statements.lines, self._hits)
        namespace[trace.HITS] = self._hits
        exec(code, namespace)
        return given

    def _compile(self) -> types.CodeType:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            plain = compile(self._source, trace.PROGRAM, "exec", dont_inherit=True)
            try:
                tree = ast.parse(self._source)
                self._statements = trace.Statements(tree, self._source)
                if trace.MONITORING:
                    return plain
                trace.instrument(tree, self._statements)
                return compile(tree, trace.PROGRAM, "exec", dont_inherit=True)
            except (RecursionError, MemoryError):
                return plain

    def _names(self, given: dict[str, object], entry_point: Json) -> list[Json]:
        """What tests may use by name: `[name, "import", module, attribute]` for what was imported, `[name, "value",
        encoded]` for the program's own. Names the prelude defined are left out: the judge has its own."""
        root = str(entry_point or "").split("(")[0].split(".")[0]
        found: list[Json] = []
        for name, value in list(self._module.__dict__.items()):
            if name.startswith("__") or (name in given and name != root):
                continue
            if isinstance(value, types.ModuleType):
                found.append([name, "import", str(value.__name__), ""])
                continue
            home = getattr(value, "__module__", None)
            if callable(value) and type(home) is str and home != self._module.__name__ and name != root:
                found.append([name, "import", home, str(getattr(value, "__qualname__", name))])
                continue
            try:
                found.append([name, "value", codec.encode(value, self._export, self._shared_name)])
            except (codec.Unserialisable, RecursionError, RuntimeError):
                continue
        return found

    def _report(self, error: BaseException) -> None:
        self._flush()
        described = fault.describe(error, self._statements, self._source)
        described["status"] = _exit_status(error) if isinstance(error, SystemExit) else 1
        self.peer.send({"fault": described})
        if described["traceback"]:
            sys.stderr.write(described["traceback"] + "\n")

    def _answer(self, op: str, wire: Json) -> dict[str, Json]:
        try:
            if op == "eval":
                value = eval(compile(str(wire), "<test>", "eval", dont_inherit=True), self._module.__dict__)
                return {"ok": codec.encode(value, _opaque)}
            arguments = codec.decode(wire, self._resolve, self._classes(wire))
            return self._operate(op, wire, arguments)
        except codec.Malformed as error:
            return {"err": {"type": "Malformed", "message": str(error)}}
        except Gone:
            raise
        except BaseException as error:
            if isinstance(error, codec.Unserialisable):
                return {"err": {"type": "Unserialisable", "message": str(error)}}
            return {"err": self._describe(error)}
        finally:
            self._flush()

    def _operate(self, op: str, wire: Json, arguments: Any) -> dict[str, Json]:
        if op == "call":
            target, positional, named = arguments
            value = target(*positional, **named)
            reply = {"ok": codec.encode(value, self._export, self._shared_name)}
            if any(
                isinstance(item, _COPIED_BACK) or self._shared_name(item) for item in (*positional, *named.values())
            ):
                after = codec.encode([positional, named], self._export, self._shared_name)
                reply["args"] = after
            return reply
        value = _OPERATIONS[op](*arguments)
        return {"ok": codec.encode(value, self._export, self._shared_name)}

    def _describe(self, error: BaseException) -> dict[str, Json]:
        described = fault.describe(error, self._statements, self._source)
        try:
            described["args"] = codec.encode(error.args)
        except (codec.Unserialisable, RecursionError):
            described["args"] = None
        return described

    def _export(self, value: object) -> list[Json]:
        extra: Json
        kind = "class" if isinstance(value, type) else "function" if _is_function(value) else "object"
        if kind == "class":
            name, extra = str(getattr(value, "__name__", "?")), _bases(value)
        elif kind == "function":
            name, extra = str(getattr(value, "__name__", "?")), None
        else:
            name, extra = type(value).__name__, [self._index(type(value)), _base_value(value)]
        return ["h", "c", self._index(value), kind, name[:200], extra]

    def _index(self, value: object) -> int:
        index = self._indices.get(id(value))
        if index is None:
            index = self._indices[id(value)] = len(self._objects)
            self._objects.append(value)
        return index

    def _resolve(self, wire: list[Json]) -> object:
        if wire[1] == "c":
            return self._objects[wire[2]]
        return _Callback(self, wire[2])

    def call_back(self, number: int, name: str, arguments: Json) -> object:
        """Call an object of the judge: itself, or its method `name`."""
        encoded = codec.encode([name, *arguments], self._export, self._shared_name)
        encoded["h"] = number
        try:
            reply = self.peer.request("callback", encoded)
        except Remote as remote:
            kind = fault.builtin_base([str(remote.fault.get("type"))])
            raise kind(remote.fault.get("message")) from None
        return codec.decode(reply["ok"], self._resolve, self._classes(reply["ok"]))

    def _shared_name(self, value: object) -> str | None:
        kind = type(value)
        if kind.__name__ in self._shared and kind.__module__ == self._module.__name__:
            return kind.__name__
        return None

    def _classes(self, wire: Json) -> dict[str, type]:
        if not wire.get("o"):
            return {}
        return {name: value for name, value in self._module.__dict__.items() if isinstance(value, type)}

    def _flush(self) -> None:
        try:
            self._stdout.flush()
            sys.stderr.flush()
        except (OSError, ValueError, AttributeError):
            return


class _Callback:
    """An object of the test code: callable, its public methods too."""

    def __init__(self, program: _Program, number: int, name: str = "") -> None:
        self._program = program
        self._number = number
        self._name = name

    def __call__(self, *positional: object, **named: object) -> object:
        return self._program.call_back(self._number, self._name, [list(positional), named])

    def __getattr__(self, name: str) -> object:
        if name.startswith("_") or self._name:
            raise AttributeError(name)
        return _Callback(self._program, self._number, name)


def _setattr(target: object, name: str, value: object) -> None:
    setattr(target, name, value)


_OPERATIONS: dict[str, Callable[..., object]] = {
    "getattr": getattr, "setattr": _setattr, "delattr": delattr, "hasattr": hasattr, "isinstance": isinstance,
    "issubclass": issubclass, "len": len, "iter": iter, "next": next, "str": str, "repr": repr, "bool": bool,
    "hash": hash, "int": int, "float": float, "index": operator.index, "abs": abs, "round": round, "format": format,
    "reversed": reversed, "getitem": operator.getitem, "setitem": operator.setitem, "delitem": operator.delitem,
    "contains": operator.contains, "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge,
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "matmul": operator.matmul,
    "truediv": operator.truediv, "floordiv": operator.floordiv, "mod": operator.mod, "pow": operator.pow,
    "and": operator.and_, "or": operator.or_, "xor": operator.xor, "neg": operator.neg, "pos": operator.pos,
    "invert": operator.invert, "eq": lambda left, right: bool(left == right), "dir": dir,
    "enter": lambda target: type(target).__enter__(target),
    "exit": lambda target: type(target).__exit__(target, None, None, None),
}  # fmt: skip


def _opaque(value: object) -> list[Json]:
    """What is told of a value that is not plain data: its class, a short text and its truth."""
    try:
        text, truth = repr(value)[:300], bool(value)
    except Exception:
        text, truth = "", True
    return ["h", "x", type(value).__name__[:200], text, truth]


def _is_function(value: object) -> bool:
    return isinstance(
        value, types.FunctionType | types.BuiltinFunctionType | types.MethodType | types.MethodWrapperType,
    ) or type(value).__name__ in ("partial", "_lru_cache_wrapper")  # fmt: skip


def _bases(value: object) -> list[str] | None:
    if isinstance(value, type) and issubclass(value, BaseException):
        return [kind.__name__ for kind in value.__mro__ if kind is not object]
    return None


def _base_value(value: object) -> Json:
    """Plain value of an enum member that is also a number or a text."""
    if isinstance(value, int | float | str):
        return codec.encode(value)
    return None


def _exit_status(error: SystemExit) -> int:
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    sys.stderr.write(f"{error.code}\n"[:10_000])
    return 1


def _depth() -> int:
    frame, depth = sys._getframe(), 0
    while frame.f_back is not None:
        frame, depth = frame.f_back, depth + 1
    return depth
