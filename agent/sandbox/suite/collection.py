"""Finds the tests of a pytest source and runs each with its parameters and fixtures.

Standard library only: this module runs inside the jail.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from types import FunctionType, MethodType
from typing import Any

from agent.sandbox.suite.awaiting import Loop
from agent.sandbox.suite.fixtures import Fixtures
from agent.sandbox.suite.minipytest import FIXTURE, PARAMETERS, SKIPPED, USED, Fixture


@dataclass(frozen=True)
class Case:
    """One test to run."""

    name: str
    run: Callable[[], None]


@dataclass(frozen=True)
class _Request:
    """The fixture `request`, as far as parameters go."""

    param: Any


@dataclass(frozen=True)
class _Test:
    """A test function and what it may ask for."""

    name: str
    function: Any
    owner: Any
    """The class it stands in, or None."""
    own: dict[str, Fixture]
    """Fixtures that the source defines."""
    brought: Fixtures
    setup: Setup

    @property
    def used(self) -> tuple[str, ...]:
        """Fixtures it uses without naming them as an argument."""
        automatic = tuple(name for name, fixture in self.own.items() if fixture.autouse)
        return (*automatic, *getattr(self.owner, USED, ()), *getattr(self.function, USED, ()))


class Setup:
    """What runs once before the tests of a module or class, and before each function."""

    def __init__(self, namespace: dict[str, Any]) -> None:
        self._namespace = namespace
        self._failed: dict[Any, BaseException | None] = {}

    def before(self, owner: Any, function: Any, loop: Loop) -> None:
        """Raises what it raises, again for every test that it is for."""
        self._once("setup_module", self._namespace.get("setup_module"), None, loop)
        if owner is None:
            _call_setup(self._namespace.get("setup_function"), function, loop)
        else:
            self._once(owner, getattr(owner, "setup_class", None), owner, loop)

    def after(self, owner: Any, function: Any, loop: Loop) -> None:
        if owner is None:
            _call_setup(self._namespace.get("teardown_function"), function, loop)

    def _once(self, key: Any, method: Any, given: Any, loop: Loop) -> None:
        if key not in self._failed:
            self._failed[key] = None
            try:
                _call_setup(method, given, loop)
            except BaseException as error:
                self._failed[key] = error
        if (failure := self._failed[key]) is not None:
            raise failure


def collect(namespace: dict[str, Any], brought: Fixtures) -> list[Case]:
    """The tests of a module's namespace in order of definition."""
    own, setup = _fixtures(list(namespace.values())), Setup(namespace)
    found: list[Case] = []
    for name, value in list(namespace.items()):
        if _is_function(value) and name.startswith("test"):
            found += _expand(_Test(name, value, None, own, brought, setup))
        elif issubclass(type(value), type) and name.startswith("Test") and not hasattr(value, "assertEqual"):
            members = inspect.getmembers(value, _is_function)
            wider = own | _fixtures([member for _, member in members])
            for method, function in members:
                if method.startswith("test"):
                    found += _expand(_Test(f"{name}::{method}", function, value, wider, brought, setup))
    return found


def _fixtures(values: list[Any]) -> dict[str, Fixture]:
    marked = [value.__dict__[FIXTURE] for value in values if _is_function(value) and FIXTURE in value.__dict__]
    return {fixture.name: fixture for fixture in marked}


def _is_function(value: object) -> bool:
    """Of the tests: stand-ins for the program's functions only say that they are such."""
    return type(value) is FunctionType


def _expand(test: _Test) -> list[Case]:
    if getattr(test.function, SKIPPED, False) or getattr(test.owner, SKIPPED, False):
        return []
    groups = [*getattr(test.owner, PARAMETERS, []), *getattr(test.function, PARAMETERS, [])]
    given = {name for group in groups for values, _ in group[:1] for name in values}
    parametrized = [name for name in _needed(test) if name not in given and test.own[name].params is not None]
    cases = []
    for row in itertools.product(*groups, *(test.own[name].params or [] for name in parametrized)):
        values: dict[str, Any] = {}
        for made, _ in row[: len(groups)]:
            values.update(made)
        params = {name: value for name, (value, _) in zip(parametrized, row[len(groups) :], strict=True)}
        label = f"[{'-'.join(label for _, label in row)}]" if row else ""
        cases.append(Case(test.name + label, _runner(test, values, params)))
    return cases


def _needed(test: _Test) -> list[str]:
    """Fixtures of the source that a test uses, directly or through another, in order."""
    found: list[str] = []
    waiting = [*test.used, *inspect.signature(test.function).parameters]
    while waiting:
        name = waiting.pop(0)
        if name in test.own and name not in found:
            found.append(name)
            waiting += inspect.signature(test.own[name].function).parameters
    return found


def _runner(test: _Test, values: dict[str, Any], params: dict[str, Any]) -> Callable[[], None]:
    def run() -> None:
        with contextlib.ExitStack() as stack:
            loop = Loop(stack)
            test.setup.before(test.owner, test.function, loop)
            instance: Any = test.owner() if test.owner is not None else None
            values_of = _Values(test, instance, dict(values), params, stack, loop)
            for name in test.used:
                values_of.get(name)
            if hasattr(instance, "setup_method"):
                _call_setup(instance.setup_method, test.function, loop)
            bound = test.function if instance is None else MethodType(test.function, instance)
            needed = [
                name
                for name, parameter in inspect.signature(bound).parameters.items()
                if parameter.default is inspect.Parameter.empty
                and parameter.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
            ]
            loop.finish(bound(**{name: values_of.get(name) for name in dict.fromkeys([*needed, *values])}))
            if hasattr(instance, "teardown_method"):
                _call_setup(instance.teardown_method, test.function, loop)
            test.setup.after(test.owner, test.function, loop)

    return run


class _Values:
    """The values of one test's arguments, made when first asked for."""

    def __init__(
        self,
        test: _Test,
        instance: Any,
        made: dict[str, Any],
        params: dict[str, Any],
        stack: contextlib.ExitStack,
        loop: Loop,
    ) -> None:
        self._test = test
        self._instance = instance
        self._made = made
        self._params = params
        self._stack = stack
        self._loop = loop

    def get(self, name: str) -> Any:
        """Raises LookupError for a fixture that nobody defines."""
        if name not in self._made:
            own = self._test.own.get(name)
            self._made[name] = self._test.brought.make(name, self._stack) if own is None else self._call(own)
        return self._made[name]

    def _call(self, fixture: Fixture) -> Any:
        function: Any = fixture.function
        if fixture.function in vars(self._test.owner or object).values():
            function = MethodType(function, self._instance)
        arguments = {
            needed: _Request(self._params.get(fixture.name)) if needed == "request" else self.get(needed)
            for needed in inspect.signature(function).parameters
        }
        result = function(**arguments)
        if inspect.isgenerator(result):
            self._stack.callback(_finish, result)
            return next(result)
        if inspect.isasyncgen(result):
            value = self._loop.run(anext(result))
            self._stack.callback(_finish_later, result, self._loop)
            return value
        return self._loop.run(result) if inspect.iscoroutine(result) else result


def _finish(generator: Iterator[Any]) -> None:
    next(generator, None)


def _finish_later(generator: AsyncIterator[Any], loop: Loop) -> None:
    loop.run(anext(generator, None))


def _call_setup(method: Any, function: Any, loop: Loop) -> None:
    if method is None:
        return
    loop.finish(method(function) if inspect.signature(method).parameters else method())
