"""The part of pytest's interface that test sources for small programs use, without pytest in the jail.

Installed as the module `pytest` inside the judge: `raises`, `approx`, `fail`, `skip`, `fixture`, `mark.parametrize`,
`param`; other marks are accepted and ignored, except `skip` and `skipif`. Standard library only.
"""

from __future__ import annotations

import inspect
import itertools
import math
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

_PARAMETERS = "__burnish_parameters__"
_SKIPPED = "__burnish_skipped__"
_FIXTURE = "__burnish_fixture__"


class Skipped(BaseException):
    """Raised by `skip`: the test is left out of the result."""


class Failed(AssertionError):
    """Raised by `fail` and by `raises` when nothing was raised."""


class _Info:
    def __init__(self) -> None:
        self.value: BaseException | None = None
        self.type: type[BaseException] | None = None

    def match(self, pattern: str) -> bool:
        """Whether the text of the exception matches; raises AssertionError if not."""
        if re.search(pattern, str(self.value)) is None:
            raise AssertionError(f"pattern {pattern!r} not found in {str(self.value)!r}")
        return True


class _Raises:
    def __init__(self, expected: Any, match: str | None) -> None:
        self._expected = expected
        self._match = match
        self._info = _Info()

    def __enter__(self) -> _Info:
        return self._info

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if kind is None or error is None:
            raise Failed(f"did not raise {getattr(self._expected, '__name__', self._expected)}")
        if not issubclass(kind, self._expected):
            return False
        self._info.value, self._info.type = error, kind
        if self._match is not None:
            self._info.match(self._match)
        return True


def raises(expected: Any, *call: Any, match: str | None = None, **named: Any) -> Any:
    """`pytest.raises`: a context manager, or a direct call when a function is given."""
    manager = _Raises(expected, match)
    if not call:
        return manager
    with manager as info:
        call[0](*call[1:], **named)
    return info


class Approx:
    """`pytest.approx`: relative 1e-6 or absolute 1e-12, whichever is wider; of containers, element by element."""

    def __init__(self, expected: Any, rel: float | None = None, abs: float | None = None, nan_ok: bool = False) -> None:
        self._expected = expected
        self._relative = 1e-6 if rel is None else rel
        self._absolute = (1e-12 if rel is None or abs is None else 0.0) if abs is None else abs
        self._nan_ok = nan_ok
        if abs is not None and rel is None:
            self._relative = 0.0

    def __eq__(self, actual: object) -> bool:
        return self._same(actual, self._expected)

    def __repr__(self) -> str:
        return f"approx({self._expected!r})"

    __hash__ = None  # type: ignore[assignment]

    def _same(self, actual: Any, expected: Any) -> bool:
        if isinstance(expected, Mapping):
            return (
                isinstance(actual, Mapping)
                and actual.keys() == expected.keys()
                and all(self._same(actual[key], expected[key]) for key in expected)
            )
        if isinstance(expected, Sequence) and not isinstance(expected, str | bytes):
            return (
                isinstance(actual, Sequence) and len(actual) == len(expected) and all(map(self._same, actual, expected))
            )
        if isinstance(expected, complex | float | int) and not isinstance(expected, bool):
            if not isinstance(actual, complex | float | int):
                return False
            if actual == expected:
                return True
            if expected != expected:
                return self._nan_ok and actual != actual
            if any(isinstance(side, float) and math.isinf(side) for side in (actual, expected)):
                return False
            return abs(actual - expected) <= max(self._absolute, self._relative * abs(expected))
        return bool(actual == expected)


def fail(reason: str = "", pytrace: bool = True) -> None:
    """`pytest.fail`."""
    raise Failed(reason)


def skip(reason: str = "", **ignored: Any) -> None:
    """`pytest.skip`."""
    raise Skipped(reason)


def fixture(
    function: Any = None, *, params: Sequence[Any] | None = None, name: str | None = None, **ignored: Any
) -> Any:
    """`pytest.fixture`; scopes are ignored, every test gets its own."""

    def mark_it(made: Any) -> Any:
        setattr(made, _FIXTURE, (name or made.__name__, bool(ignored.get("autouse")), params))
        return made

    return mark_it(function) if callable(function) else mark_it


@dataclass(frozen=True)
class Parameters:
    """One value set of `parametrize`."""

    values: tuple[Any, ...]
    id: str | None = None


def param(*values: Any, id: str | None = None, marks: Any = ()) -> Parameters:
    """`pytest.param`; its marks are ignored."""
    return Parameters(values, id)


def parametrize(names: str | Sequence[str], sets: Sequence[Any], **ignored: Any) -> Callable[[Any], Any]:
    """`pytest.mark.parametrize`."""
    keys = [key.strip() for key in names.split(",")] if isinstance(names, str) else list(names)

    def mark_it(target: Any) -> Any:
        made = []
        for values in sets:
            given = values if isinstance(values, Parameters) else None
            row = given.values if given else (values,) if len(keys) == 1 else tuple(values)
            label = given.id if given and given.id else "-".join(_label(value) for value in row)
            made.append((dict(zip(keys, row, strict=True)), label))
        setattr(target, _PARAMETERS, [made, *getattr(target, _PARAMETERS, [])])
        return target

    return mark_it


def _label(value: Any) -> str:
    text = str(value) if isinstance(value, str | int | float | bool | None) else type(value).__name__
    return text[:40]


class _Marks:
    parametrize = staticmethod(parametrize)

    @staticmethod
    def skip(*reason: Any, **ignored: Any) -> Any:
        if len(reason) == 1 and callable(reason[0]):
            setattr(reason[0], _SKIPPED, True)
            return reason[0]
        return _Marks.skipif(True)

    @staticmethod
    def skipif(condition: Any, **ignored: Any) -> Callable[[Any], Any]:
        def mark_it(target: Any) -> Any:
            if condition:
                setattr(target, _SKIPPED, True)
            return target

        return mark_it

    def __getattr__(self, name: str) -> Any:
        def mark(*arguments: Any, **ignored: Any) -> Any:
            return arguments[0] if len(arguments) == 1 and callable(arguments[0]) else lambda target: target

        return mark


def module() -> ModuleType:
    """What `import pytest` finds."""
    made = ModuleType("pytest")
    made.__dict__.update(
        raises=raises, approx=Approx, fail=fail, skip=skip, fixture=fixture, param=param, mark=_Marks(),
        importorskip=__import__, main=lambda *arguments, **named: 0,
    )  # fmt: skip
    return made


@dataclass(frozen=True)
class Case:
    """One test to run."""

    name: str
    run: Callable[[], None]


def collect(namespace: dict[str, Any]) -> list[Case]:
    """The tests of a module's namespace in order of definition."""
    fixtures = {
        value.__burnish_fixture__[0]: value for value in list(namespace.values()) if hasattr_safe(value, _FIXTURE)
    }
    found: list[Case] = []
    for name, value in list(namespace.items()):
        if inspect.isfunction(value) and name.startswith("test"):
            found += _expand(name, value, None, fixtures)
        elif inspect.isclass(value) and name.startswith("Test") and not hasattr(value, "assertEqual"):
            for method, function in inspect.getmembers(value, inspect.isfunction):
                if method.startswith("test"):
                    found += _expand(f"{name}::{method}", function, value, fixtures)
    return found


def hasattr_safe(value: object, name: str) -> bool:
    """`hasattr` for plain functions only: objects of the program are not asked."""
    return inspect.isfunction(value) and name in value.__dict__


def _expand(name: str, function: Any, owner: Any, fixtures: dict[str, Any]) -> list[Case]:
    if getattr(function, _SKIPPED, False) or (owner is not None and getattr(owner, _SKIPPED, False)):
        return []
    groups = [*(getattr(owner, _PARAMETERS, []) if owner is not None else []), *getattr(function, _PARAMETERS, [])]
    cases = []
    for combination in itertools.product(*groups):
        values: dict[str, Any] = {}
        for given, _ in combination:
            values.update(given)
        label = f"[{'-'.join(label for _, label in combination)}]" if combination else ""
        cases.append(Case(name + label, _runner(function, owner, values, fixtures)))
    return cases


def _runner(function: Any, owner: Any, values: dict[str, Any], fixtures: dict[str, Any]) -> Callable[[], None]:
    def run() -> None:
        finalizers: list[Iterator[Any]] = []
        made: dict[str, Any] = dict(values)
        instance = owner() if owner is not None else None
        local = dict(fixtures)
        if owner is not None:
            for _, member in inspect.getmembers(owner, lambda value: hasattr_safe(value, _FIXTURE)):
                local[member.__burnish_fixture__[0]] = member.__get__(instance)
        try:
            for known, maker in local.items():
                if getattr(maker, _FIXTURE)[1]:
                    _value(known, local, made, finalizers)
            if instance is not None and hasattr(instance, "setup_method"):
                _call_setup(instance.setup_method, function)
            bound = function.__get__(instance) if instance is not None else function
            names = [
                name
                for name, parameter in inspect.signature(bound).parameters.items()
                if parameter.default is inspect.Parameter.empty
                and parameter.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
            ]
            bound(**{name: _value(name, local, made, finalizers) for name in {*names, *values}})
            if instance is not None and hasattr(instance, "teardown_method"):
                _call_setup(instance.teardown_method, function)
        finally:
            for generator in reversed(finalizers):
                next(generator, None)

    return run


def _call_setup(method: Any, function: Any) -> None:
    if inspect.signature(method).parameters:
        method(function)
    else:
        method()


def _value(name: str, fixtures: dict[str, Any], made: dict[str, Any], finalizers: list[Iterator[Any]]) -> Any:
    if name in made:
        return made[name]
    if name == "tmp_path":
        made[name] = Path(tempfile.mkdtemp())
        return made[name]
    if name not in fixtures:
        raise LookupError(f"fixture {name!r} is not available in this sandbox")
    function = fixtures[name]
    arguments = {
        needed: _value(needed, fixtures, made, finalizers) for needed in inspect.signature(function).parameters
    }
    result = function(**arguments)
    if inspect.isgenerator(result):
        finalizers.append(result)
        result = next(result)
    made[name] = result
    return result
