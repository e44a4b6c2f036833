"""Runs beside the submitted program, in its process, and answers calls to it.

Nothing here is trusted by anyone: the program can change every object in this process. What leaves it is read as plain
data by the other side. Standard library only.
"""

from __future__ import annotations

import ast
import atexit
import faulthandler
import linecache
import mmap
import os
import random
import signal
import sys
import threading
import types
import warnings
from typing import Any

from agent.sandbox.program import fault, names, trace
from agent.sandbox.program.exports import Exports, base_value
from agent.sandbox.program.operations import OPERATIONS
from agent.sandbox.program.statements import Statements
from agent.sandbox.program.told import OF_TESTS
from agent.sandbox.suite import inside
from agent.sandbox.suite.script import PRELUDE
from agent.sandbox.wire import codec
from agent.sandbox.wire.codec import Json
from agent.sandbox.wire.rpc import Gone, Peer, Remote

MODULE = "solution"

_SEED = 0
"""What the random numbers of most runs are seeded with, once for all."""
_reserve = mmap.mmap(-1, 4 << 20)
"""Address space given back once memory has run out, so that it can be told; until then no function can be called."""
_harness: list[types.ModuleType] = []
"""Burnish's own modules, kept alive here because the program must not find them where modules are found."""


def settle() -> None:
    """Do once what holds for every program, in the process that forks theirs, when all it needs is imported."""
    _harness.extend(sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "agent")
    warnings.simplefilter("ignore", SyntaxWarning)
    random.seed(_SEED)


def run(rpc_fd: int, trace_fd: int) -> int:
    """Load the program that the first frame brings and answer `calls` requests to it, or all that come where that is
    None; returns the exit status of the process."""
    program = _Program(rpc_fd, trace_fd)
    try:
        order = program.peer.receive()
        if order["mode"] == "main":
            return program.run_as_main(order)
        if program.load(order):
            program.peer.serve(order["calls"])
    except Gone:
        return 0
    return 0


class _Program:
    def __init__(self, rpc_fd: int, trace_fd: int) -> None:
        self._trace_fd = trace_fd
        self._source = ""
        self._statements: Statements | None = None
        self._hits = trace.Hits(trace_fd, 0)
        self._module = types.ModuleType(MODULE)
        self._given: dict[str, object] = {}
        self._exports = Exports(self._module, self._ask)
        self._containers = self._exports.containers
        self.peer = Peer(rpc_fd, self._answer, self._containers.unsent)
        self._stdout = sys.stdout

    def load(self, order: dict[str, Json]) -> bool:
        """Execute prelude and program as a module and send `{"names", "hits"}` or `{"fault"}`; whether it went well."""
        self._prepare(order, MODULE)
        try:
            self._execute(order)
        except BaseException as error:
            if isinstance(error, fault.OUT_OF_MEMORY):
                _reserve.close()
            self._report(error)
            return False
        self._flush()
        names = self._names(order["entry_point"]) if order["names"] else []
        self.peer.send({"names": names, "hits": self._hit()})
        return True

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
            if isinstance(error, fault.OUT_OF_MEMORY):
                _reserve.close()
            self._report(error)
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        self._flush()
        return status

    def _prepare(self, order: dict[str, Json], name: str) -> None:
        self._source = order["code"].removeprefix("\ufeff")
        self._module.__name__ = name
        self._module.__dict__["__builtins__"] = __builtins__
        sys.modules["__main__"] = types.ModuleType("__main__")
        sys.modules[name] = self._module
        sys.argv = ["program.py"]
        linecache.cache[trace.PROGRAM] = (
            len(self._source), None, self._source.splitlines(keepends=True), trace.PROGRAM,
        )  # fmt: skip
        os.lseek(self._trace_fd, trace.LAST_WORDS, os.SEEK_SET)
        faulthandler.register(signal.SIGUSR2, file=self._trace_fd, all_threads=False)
        if order["seed"] != _SEED:
            random.seed(order["seed"])
        sys.setrecursionlimit(1000 + _depth())

    def _execute(self, order: dict[str, Json]) -> None:
        """Run prelude and program."""
        namespace = self._module.__dict__
        if order["prelude"]:
            exec(compile(order["prelude"], PRELUDE, "exec", dont_inherit=True), namespace)
            self._given = dict(namespace)
            self._exports.give(
                frozenset(
                    name
                    for name, value in namespace.items()
                    if isinstance(value, type) and value.__module__ == self._module.__name__
                )
            )
        code = self._compile()
        spans = self._statements.spans() if self._statements is not None else []
        self._hits = trace.Hits(self._trace_fd, len(spans))
        if spans:
            hits = mmap.mmap(self._trace_fd, len(spans))
            if trace.MONITORING and self._statements is not None:
                trace.monitor(code, self._statements, hits)
            namespace[trace.HITS] = hits
        self.peer.send({"stage": "compiled", "statements": spans})
        exec(code, namespace)

    def _hit(self) -> list[Json]:
        """Statements executed since it was last asked; none if the program has closed the file that holds them."""
        try:
            return [*self._hits.take()]
        except OSError:
            return []

    def _names(self, entry_point: str | None) -> list[Json]:
        return names.told(self._module, self._given, entry_point, self._exports.number)

    def _compile(self) -> types.CodeType:
        try:
            tree: Any = compile(self._source, trace.PROGRAM, "exec", ast.PyCF_ONLY_AST, dont_inherit=True)
            statements = Statements(tree, self._source)
            if len(statements.ordered) <= trace.MAX_STATEMENTS:
                self._statements = statements
                if not trace.MONITORING:
                    trace.instrument(statements)
            code: types.CodeType = compile(tree, trace.PROGRAM, "exec", dont_inherit=True)
            return code
        except (RecursionError, MemoryError):
            self._statements = None
            return compile(self._source, trace.PROGRAM, "exec", dont_inherit=True)

    def _report(self, error: BaseException) -> None:
        self._flush()
        described = self._describe(error)
        described["status"] = _exit_status(error) if isinstance(error, SystemExit) else 1
        self.peer.send({"fault": described})
        if described["traceback"]:
            sys.stderr.write(described["traceback"] + "\n")

    def _answer(self, op: str, wire: Json) -> dict[str, Json]:
        reply = self._reply(op, wire)
        if op == "eval":
            reply["hits"] = self._hit()
        return reply

    def _reply(self, op: str, wire: Json) -> dict[str, Json]:
        trace.rearm()
        try:
            if op == "eval":
                value = eval(compile(wire, "<test>", "eval", dont_inherit=True), self._module.__dict__)
                return {"ok": codec.encode(value, _opaque)}
            if op == "name":
                return {"ok": self._containers.encode(self._module.__dict__[wire])}
            if op == "tests":
                return inside.run(wire, self._module, self.peer, self._trace_fd, self._describe)
            return {"ok": self._containers.encode(self._operate(op, wire))}
        except codec.Malformed as error:
            return {"err": {"type": "Malformed", "message": str(error)}}
        except Gone:
            raise
        except BaseException as error:
            if isinstance(error, fault.OUT_OF_MEMORY):
                _reserve.close()
            if isinstance(error, codec.Unserialisable):
                return {"err": {"type": "Unserialisable", "message": str(error)}}
            return {"err": {**self._describe(error), "told": self._told(error), "changed": self._changed()}}
        finally:
            self._flush()

    def _operate(self, op: str, wire: Json) -> object:
        """What the operation returns; no argument is held here after it."""
        arguments: Any = self._containers.decode(wire)
        return OPERATIONS[op](*arguments)

    def _describe(self, error: BaseException) -> dict[str, Json]:
        return fault.describe(error, self._statements, self._source, self._given)

    def _told(self, error: BaseException) -> Json:
        try:
            return self._exports.told.of(error)
        except (MemoryError, RecursionError):
            return None

    def _changed(self) -> Json:
        """What comes with a reply that brings no value."""
        try:
            return self._containers.encode(None)
        except (codec.Unserialisable, MemoryError, RecursionError):
            return None

    def _ask(self, op: str, number: int, *arguments: object) -> object:
        """Use an object of the tests."""
        encoded = self._containers.encode(arguments)
        encoded["h"] = number
        try:
            reply = self.peer.request(op, encoded)
        except Remote as remote:
            raise self._raised(remote.fault) from None
        return self._containers.decode(reply["ok"])

    def _raised(self, told: dict[str, Json]) -> BaseException:
        """The exception that test code raised, as far as it can be one here."""
        try:
            raised: Any = self._containers.decode(told["raised"])
            error: BaseException = raised[0](*raised[1])
            error.__dict__[OF_TESTS] = told["test"]
        except Exception:
            return fault.builtin_base([str(told.get("type"))])(told.get("message"))
        return error

    def _flush(self) -> None:
        try:
            self._stdout.flush()
            sys.stderr.flush()
        except (OSError, ValueError, AttributeError):
            return


def _opaque(value: object) -> list[Json]:
    """What is told of a value that is not plain data: its class, a short text and its truth; of an enum member that is
    also a number or a text its plain value."""
    try:
        text, truth = repr(value)[:300], bool(value)
    except Exception:
        text, truth = "", True
    return ["h", "x", type(value).__name__[:200], text, truth, base_value(value)]


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
