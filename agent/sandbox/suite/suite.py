"""Runs units of test code: in the judge with proxies of the program's objects, or beside the program with the objects
themselves.

Standard library only: this module runs inside the jail.
"""

from __future__ import annotations

import builtins
import contextlib
import inspect
import linecache
import sys
import unittest
from collections.abc import Callable
from types import ModuleType
from typing import Any, Protocol

from agent.sandbox.suite import awaiting, cases, collection, minipytest
from agent.sandbox.suite.fixtures import Fixtures
from agent.sandbox.suite.recorder import Recorder
from agent.sandbox.suite.script import TESTS, Script, heard
from agent.sandbox.wire.codec import Json
from agent.sandbox.wire.rpc import Gone

_HARNESS = ("candidate", "check", cases.RECORDER)
"""Names whose meaning the program cannot change."""


class Find(Protocol):
    """The program's object of a name, which the test code calls or not. Raises KeyError."""

    def __call__(self, name: str, /, *, called: bool = False) -> Any: ...


class Suite:
    """The units of one process."""

    def __init__(
        self,
        base: dict[str, Any],
        find: Find,
        entry_point: str | None,
        fixtures: Fixtures,
        on_names: Callable[[frozenset[str]], None] = lambda names: None,
    ) -> None:
        """`on_names` hears, before a unit runs, which names its source gives a meaning."""
        self._base = base
        self._find = find
        self._entry_point = entry_point
        self._fixtures = fixtures
        self._on_names = on_names
        sys.modules["tests"] = ModuleType("tests")

    def run(self, unit: dict[str, Json], recorder: Recorder) -> None:
        """Run one unit; whatever happens in it is recorded. Raises Gone."""
        try:
            self._run(unit, recorder)
        except BaseException as error:
            recorder.abort(error)
        recorder.close()

    def _run(self, unit: dict[str, Json], recorder: Recorder) -> None:
        source, runner = unit["source"], unit["runner"]
        linecache.cache[TESTS] = (len(source), None, source.splitlines(keepends=True), TESTS)
        namespace = dict(self._base)
        namespace[cases.RECORDER] = recorder
        script = heard(unit["script"], source, runner)
        self._on_names(script.bound)
        if runner == "value":
            recorder.plan([unit["name"]])
            if recorder.begin(0):
                fill(namespace, script, self._find)
                recorder.value(eval(script.code, namespace))
            return
        entry_point = self._entry_point
        fill(namespace, script, self._find, entry_point)
        in_whole = runner == "assert" or (runner in ("check", "script") and not script.cases)
        if in_whole or script.cases:
            recorder.plan(script.cases or [unit["name"]])
        if in_whole and not recorder.begin(0):
            return
        sys.modules["tests"].__dict__.update(namespace)
        exec(script.code, namespace)
        if runner == "check" and not script.calls_check:
            if "candidate" not in namespace:
                namespace["candidate"] = eval(entry_point, namespace) if entry_point else None
            awaiting.finish(namespace["check"](namespace["candidate"]))
        if runner in ("pytest", "unittest"):
            self._run_collected(namespace, recorder)

    def _run_collected(self, namespace: dict[str, Any], recorder: Recorder) -> None:
        found = collection.collect(namespace, self._fixtures)
        loader = unittest.TestLoader()
        for value in list(namespace.values()):
            if issubclass(type(value), type) and issubclass(value, unittest.TestCase) and value.__module__ == "tests":
                for name in loader.getTestCaseNames(value):
                    found.append(collection.Case(f"{value.__name__}::{name}", _unittest_runner(value, name)))
        if not found:
            raise NameError("the test source defines no tests")
        recorder.plan([case.name for case in found])
        if "setUpModule" in namespace:
            namespace["setUpModule"]()
        for number, case in enumerate(found):
            if recorder.begin(number):
                try:
                    case.run()
                except BaseException as error:
                    recorder.fail(error)
                else:
                    recorder.passed()


def offer_pytest() -> None:
    """Let test code of this process import what it uses of pytest."""
    sys.modules["pytest"] = minipytest.module()


def fill(namespace: dict[str, Any], script: Script, find: Find, entry_point: str | None = None) -> None:
    """Give a script those names of the program that it uses. Built-in names, the standard library's modules and what
    `namespace` has already are never the program's, unless they are the entry point."""
    root = root_of(entry_point)
    for name in script.used | {root} if root else script.used:
        if name == root or not (name in _HARNESS or hasattr(builtins, name) or name in namespace):
            try:
                namespace[name] = find(name, called=name in script.called)
            except KeyError:
                continue
    if root in namespace:
        with contextlib.suppress(Exception):
            namespace["candidate"] = eval(entry_point or "", namespace)


def root_of(entry_point: str | None) -> str:
    """The name that an entry point such as `Solution().solve` begins with."""
    return (entry_point or "").split("(")[0].split(".")[0]


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


def _unittest_runner(kind: type[unittest.TestCase], name: str) -> Callable[[], None]:
    def run() -> None:
        if inspect.iscoroutinefunction(getattr(kind, name)) and not hasattr(kind, "asyncSetUp"):
            raise TypeError("unittest.TestCase does not await its tests: use IsolatedAsyncioTestCase")
        result = _UnittestResult()
        suite = unittest.TestSuite([kind(name)])
        suite.run(result)
        if result.error is not None:
            raise result.error

    return run
