"""Runs test code in a process that the program cannot reach, with proxies in place of the program's objects.

Started by the zygote with two sockets: one to the program's process, one to the server, which sends the test source
over it and reads the result of each case from it. Standard library only: this module runs inside the jail.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import importlib
import io
import linecache
import random
import socket
import sys
import time
import unittest
import warnings
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from agent.sandbox import cases, codec, fault, minipytest
from agent.sandbox.codec import Json
from agent.sandbox.proxy import FAULT, Program
from agent.sandbox.rpc import Gone, Peer

TESTS = "<tests>"
MAX_TEXT = 500
_HARNESS = ("candidate", "check", cases.RECORDER)
"""Names whose meaning the program cannot change."""
_ALIASES = {("np", "numpy"), ("pd", "pandas"), ("plt", "matplotlib.pyplot"), ("dt", "datetime")}


class MissingName(ImportError):
    """Test code imports a name that the program does not define."""


def run(rpc_fd: int, verdict_fd: int) -> int:
    """Run the units of the order that the server sends; returns the exit status of the process."""
    verdict = Peer(socket.socket(fileno=verdict_fd), _refuse)
    try:
        order = verdict.receive()
        _Judge(order, socket.socket(fileno=rpc_fd), verdict).run()
    except Gone as gone:
        try:
            verdict.send({"event": "gone", "message": str(gone)[:MAX_TEXT]})
        except Gone:
            return 1
    return 0


def _refuse(op: str, wire: Json) -> dict[str, Json]:
    raise Gone("the server does not call the judge")


class _Judge:
    def __init__(self, order: dict[str, Json], connection: socket.socket, verdict: Peer) -> None:
        self._order = order
        self._verdict = verdict
        self._base: dict[str, Any] = {"__name__": "tests", "__builtins__": builtins}
        random.seed(0)
        warnings.simplefilter("ignore")
        if order["prelude"]:
            exec(compile(order["prelude"], "<prelude>", "exec", dont_inherit=True), self._base)
        shared = {
            name: value for name, value in self._base.items() if isinstance(value, type) and value.__module__ == "tests"
        }
        peer = Peer(connection, lambda op, wire: self._program.answer(op, wire))
        self._program = Program(peer, shared)
        self._names = _Names(self._program, order["names"], self._base, _root(order["entry_point"]))
        sys.modules["pytest"] = minipytest.module()
        sys.modules["tests"] = ModuleType("tests")
        sys.meta_path.append(_Finder(self._names))

    def run(self) -> None:
        skip = {tuple(done) for done in self._order["skip"]}
        for unit in self._order["units"]:
            recorder = _Recorder(self._verdict, unit["index"], {case for index, case in skip if index == unit["index"]})
            try:
                self._run_unit(unit, recorder)
            except BaseException as error:
                recorder.abort(error)
            recorder.close()
        self._verdict.send({"event": "done", "nonce": self._order["nonce"]})

    def _run_unit(self, unit: dict[str, Json], recorder: _Recorder) -> None:
        source, runner = unit["source"], unit["runner"]
        linecache.cache[TESTS] = (len(source), None, source.splitlines(keepends=True), TESTS)
        namespace = dict(self._base)
        namespace[cases.RECORDER] = recorder
        if runner == "value":
            recorder.plan([unit["name"]])
            if recorder.begin(0):
                self._fill(namespace, ast.parse(source, mode="eval"))
                recorder.value(eval(compile(source, TESTS, "eval", dont_inherit=True), namespace))
            return
        tree = ast.parse(source)
        entry_point = self._order["entry_point"]
        self._fill(namespace, tree, entry_point)
        splits = runner in ("check", "script")
        names = cases.split(tree) if splits else [unit["name"]] if runner == "assert" else []
        cases.record_operands(tree)
        code = compile(tree, TESTS, "exec", dont_inherit=True)
        whole = splits and not names
        if splits or runner == "assert":
            recorder.plan(names or [unit["name"]])
        if (whole or runner == "assert") and not recorder.begin(0):
            return
        sys.modules["tests"].__dict__.update(namespace)
        exec(code, namespace)
        if runner == "check" and not cases.calls_check(tree):
            if "candidate" not in namespace:
                namespace["candidate"] = eval(entry_point, namespace) if entry_point else None
            namespace["check"](namespace["candidate"])
        if runner in ("pytest", "unittest"):
            _run_collected(namespace, recorder)

    def _fill(self, namespace: dict[str, Any], tree: ast.AST, entry_point: str | None = None) -> None:
        """Give the test code those names of the program that it uses. Built-in names, the standard library's modules
        and what the statement's own prelude defines are never the program's, unless they are the entry point."""
        root = _root(entry_point)
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} | ({root} if root else set())
        for name in used:
            if name == root or not (name in _HARNESS or hasattr(builtins, name) or name in namespace):
                try:
                    namespace[name] = self._names.find(name)
                except KeyError:
                    continue
        if root in namespace:
            with contextlib.suppress(Exception):
                namespace["candidate"] = eval(entry_point or "", namespace)


def _root(entry_point: str | None) -> str:
    return (entry_point or "").split("(")[0].split(".")[0]


class _Names:
    """The program's names as its process reported them."""

    def __init__(self, program: Program, reported: Json, base: dict[str, Any], root: str) -> None:
        self._program = program
        self._root = root
        self._base = base
        self._reported = {str(entry[0]): entry[1:] for entry in reported}

    def __iter__(self) -> Any:
        return iter(self._reported)

    def find(self, name: str) -> Any:
        """The object behind `name`. Raises KeyError if the program does not define it."""
        entry = self._reported[name]
        if entry[0] == "value" and name in sys.stdlib_module_names and name != self._root:
            return importlib.import_module(name)
        if entry[0] == "value":
            return self._program.decode(entry[1])
        return _imported(name, str(entry[1]), str(entry[2]))

    def find_for_import(self, name: str) -> Any:
        """As `find`, with what the prelude defines. Raises MissingName."""
        try:
            return self.find(name)
        except KeyError:
            if name in self._base and not name.startswith("__"):
                return self._base[name]
            raise MissingName(f"cannot import name {name!r} from the program") from None


def _imported(name: str, module: str, attribute: str) -> Any:
    """What the program imported under `name`, imported here from the same place; only where the names agree, so that
    a program cannot give the tests another function than the one they mean."""
    agrees = (
        attribute.split(".")[-1] == name if attribute else module.split(".")[-1] == name or (name, module) in _ALIASES
    )
    if not agrees or module.split(".")[0] not in {*sys.stdlib_module_names, "numpy", "pandas"}:
        raise KeyError(name)
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split(".") if attribute else ():
            found = getattr(found, part)
    except (ImportError, AttributeError):
        raise KeyError(name) from None
    return found


class _Finder:
    """Lets test code import the program under any name that nothing else has."""

    def __init__(self, names: _Names) -> None:
        self._names = names

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if path is not None or name.startswith("_"):
            return None
        return ModuleSpec(name, self)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        made = ModuleType(spec.name)
        made.__dict__["__getattr__"] = self._attribute
        made.__dict__["__all__"] = [name for name in self._names if not name.startswith("_")]
        return made

    def exec_module(self, module: ModuleType) -> None:
        return

    def _attribute(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._names.find_for_import(name)


class _Recorder:
    """Tells the server about the cases of one unit."""

    def __init__(self, verdict: Peer, unit: int, skip: set[int]) -> None:
        self._verdict = verdict
        self._unit = unit
        self._skip = skip
        self._planned = 0
        self._finished: set[int] = set()
        self._open: int | None = None
        self._started = 0.0
        self._left: Any = None
        self._right: Any = None
        self._told = 0

    def plan(self, names: list[str]) -> None:
        """Announce the cases; must come before the first begins."""
        self._planned = len(names)
        self._send({"event": "plan", "cases": names})

    def begin(self, case: int) -> bool:
        """Whether to run `case`: an earlier process may have finished it."""
        if self._open is not None:
            self.passed()
        if case in self._skip or case in self._finished:
            return False
        self._open, self._told = case, 0
        self._send({"event": "begin", "case": case})
        self._started = time.monotonic()
        return True

    def left(self, value: Any) -> Any:
        self._left, self._told = value, self._told | 1
        return value

    def right(self, value: Any) -> Any:
        self._right, self._told = value, self._told | 2
        return value

    def passed(self) -> None:
        self._finish({"outcome": "passed"})

    def value(self, value: object) -> None:
        """End the case with a value that the server compares."""
        try:
            self._finish({"outcome": "value", "value": codec.encode(value)})
        except codec.Unserialisable as error:
            self._finish({"outcome": "failed_test", "message": str(error)})

    def fail(self, error: BaseException) -> None:
        """End the case with what `error` means."""
        if isinstance(error, Gone):
            raise error
        if isinstance(error, minipytest.Skipped | unittest.SkipTest):
            self.skipped()
            return
        self._finish(self._meaning(error))

    def abort(self, error: BaseException) -> None:
        """End every case that has not ended yet."""
        if isinstance(error, Gone):
            raise error
        if self._open is not None:
            self.fail(error)
            if self._planned <= 1:
                return
        meaning = self._meaning(error)
        if not self._planned:
            self.plan(["the tests as a whole"])
        for case in range(self._planned):
            if case not in self._finished and case not in self._skip:
                self._open = case
                self._finish(meaning)

    def skipped(self) -> None:
        """The tests themselves left this case out."""
        self._finish({"outcome": "skipped"})

    def close(self) -> None:
        """End of the unit: the open case passed, cases never reached did not run."""
        if self._open is not None:
            self.passed()
        for case in range(self._planned):
            if case not in self._finished and case not in self._skip:
                self._open = case
                self._finish({"outcome": "failed_test", "message": "this case was never reached"})

    def _meaning(self, error: BaseException) -> dict[str, Json]:
        told: dict[str, Json] = {"message": fault.message_of(error)[:MAX_TEXT]}
        described = getattr(error, FAULT, None)
        if described is not None:
            told |= {"outcome": "runtime_error", "fault": described}
        elif isinstance(error, NameError | MissingName) and not isinstance(error, UnboundLocalError):
            told |= {"outcome": "runtime_error", "fault": {"type": "NameError", "message": str(error)[:MAX_TEXT]}}
        else:
            told |= {"outcome": "failed_test", "type": type(error).__name__}
            if self._told == 3 and isinstance(error, AssertionError):
                told |= {"actual": _short(self._left), "expected": _short(self._right)}
        return told

    def _finish(self, result: dict[str, Json]) -> None:
        if self._open is None:
            return
        case, self._open = self._open, None
        self._finished.add(case)
        seconds = time.monotonic() - self._started if self._started else 0.0
        self._left = self._right = None
        self._send({"event": "result", "case": case, "seconds": seconds, **result})

    def _send(self, message: dict[str, Json]) -> None:
        self._verdict.send({"unit": self._unit, **message})


class _UnittestResult(unittest.TestResult):
    """Keeps the first thing that went wrong in one test."""

    def __init__(self) -> None:
        super().__init__()
        self.error: BaseException | None = None

    def _keep(self, error: Any) -> None:
        if isinstance(error[1], Gone):
            raise error[1]
        self.error = self.error or error[1]

    def addError(self, test: Any, err: Any) -> None:  # noqa: N802
        self._keep(err)

    def addFailure(self, test: Any, err: Any) -> None:  # noqa: N802
        self._keep(err)

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:  # noqa: N802
        if err is not None:
            self._keep(err)

    def addSkip(self, test: Any, reason: str) -> None:  # noqa: N802
        self.error = self.error or minipytest.Skipped(reason)

    def addUnexpectedSuccess(self, test: Any) -> None:  # noqa: N802
        self.error = AssertionError("unexpected success")


def _run_collected(namespace: dict[str, Any], recorder: _Recorder) -> None:
    found = minipytest.collect(namespace)
    loader = unittest.TestLoader()
    for value in list(namespace.values()):
        if isinstance(value, type) and issubclass(value, unittest.TestCase) and value.__module__ == "tests":
            for name in loader.getTestCaseNames(value):
                found.append(minipytest.Case(f"{value.__name__}::{name}", _unittest_runner(value, name)))
    if not found:
        raise NameError("the test source defines no tests")
    recorder.plan([case.name for case in found])
    for number, case in enumerate(found):
        if recorder.begin(number):
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    case.run()
            except BaseException as error:
                recorder.fail(error)
            else:
                recorder.passed()


def _unittest_runner(kind: type[unittest.TestCase], name: str) -> Callable[[], None]:
    def run() -> None:
        result = _UnittestResult()
        suite = unittest.TestSuite([kind(name)])
        suite.run(result)
        if result.error is not None:
            raise result.error

    return run


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except Exception as error:
        text = f"<{type(error).__name__} in repr>"
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "..."
