"""The part of pytest's interface that test sources for small programs use, without pytest in the jail.

Installed as the module `pytest` where tests run: `raises`, `approx`, `fail`, `skip`, `fixture`, `param`,
`MonkeyPatch`, `mark.parametrize`, `mark.skip`, `mark.skipif`, `mark.usefixtures`; other marks are accepted and
ignored. Standard library only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType, ModuleType, TracebackType
from typing import Any

from agent.sandbox.suite.monkeypatch import MonkeyPatch

PARAMETERS = "__burnish_parameters__"
SKIPPED = "__burnish_skipped__"
FIXTURE = "__burnish_fixture__"
USED = "__burnish_used__"
"""Attributes by which decorated functions and classes are known to `collection`."""


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
    function: Any = None,
    *,
    params: Sequence[Any] | None = None,
    ids: Any = None,
    name: str | None = None,
    autouse: bool = False,
    **ignored: Any,
) -> Any:
    """`pytest.fixture`; scopes are ignored, every test gets its own."""

    def mark_it(made: Any) -> Any:
        rows = [_row(value, single=True) for value in params or ()]
        given = [
            (row.values[0], label) for row, label in zip(rows, _labels(rows, [name or made.__name__], ids), strict=True)
        ]
        setattr(made, FIXTURE, Fixture(made, name or made.__name__, autouse, None if params is None else given))
        return made

    return mark_it(function) if callable(function) else mark_it


@dataclass(frozen=True)
class Fixture:
    """What a function marked by `fixture` makes."""

    function: Any
    name: str
    autouse: bool
    params: list[tuple[Any, str]] | None
    """Values of `request.param`, each with its label; None without parameters."""


@dataclass(frozen=True)
class Parameters:
    """One value set of `parametrize`."""

    values: tuple[Any, ...]
    id: str | None = None


def param(*values: Any, id: str | None = None, marks: Any = ()) -> Parameters:
    """`pytest.param`; its marks are ignored."""
    return Parameters(values, id)


def parametrize(
    names: str | Sequence[str], sets: Sequence[Any], *, ids: Any = None, **ignored: Any
) -> Callable[[Any], Any]:
    """`pytest.mark.parametrize`."""
    keys = [key.strip() for key in names.split(",")] if isinstance(names, str) else list(names)

    def mark_it(target: Any) -> Any:
        rows = [_row(values, single=len(keys) == 1) for values in sets]
        labels = _labels(rows, keys, ids)
        made = [(dict(zip(keys, row.values, strict=True)), label) for row, label in zip(rows, labels, strict=True)]
        setattr(target, PARAMETERS, [*getattr(target, PARAMETERS, []), made])
        return target

    return mark_it


def _row(given: Any, *, single: bool) -> Parameters:
    if isinstance(given, Parameters):
        return given
    return Parameters((given,) if single else tuple(given))


def _labels(rows: Sequence[Parameters], keys: Sequence[str], ids: Any) -> list[str]:
    """The label of each value set: its own, else what `ids` (a list or a function of one value) says, else made from
    the values; counted where the same comes twice."""
    name = ids if callable(ids) else None
    given = [] if ids is None or callable(ids) else list(ids)
    given += [None] * (len(rows) - len(given))
    found: list[str] = []
    for number, (row, told) in enumerate(zip(rows, given, strict=False)):
        made = (_label(value, f"{key}{number}", name) for key, value in zip(keys, row.values, strict=False))
        found.append(row.id or (str(told) if told is not None else "-".join(made)))
    seen: dict[str, int] = {}
    labels = []
    for label in found:
        seen[label] = seen.get(label, -1) + 1
        parted = "_" if label[-1:].isdigit() else ""
        labels.append(f"{label}{parted}{seen[label]}" if found.count(label) > 1 else label)
    return labels


def _label(value: Any, place: str, name: Callable[[Any], Any] | None) -> str:
    if name is not None and (told := name(value)) is not None:
        return str(told)[:40]
    if isinstance(value, str | int | float | bool | None):
        return str(value)[:40]
    return value.__name__[:40] if issubclass(type(value), type | FunctionType) else place


class _Marks:
    parametrize = staticmethod(parametrize)

    @staticmethod
    def skip(*reason: Any, **ignored: Any) -> Any:
        if len(reason) == 1 and callable(reason[0]):
            setattr(reason[0], SKIPPED, True)
            return reason[0]
        return _Marks.skipif(True)

    @staticmethod
    def skipif(condition: Any, **ignored: Any) -> Callable[[Any], Any]:
        def mark_it(target: Any) -> Any:
            if condition:
                setattr(target, SKIPPED, True)
            return target

        return mark_it

    @staticmethod
    def usefixtures(*names: str) -> Callable[[Any], Any]:
        def mark_it(target: Any) -> Any:
            setattr(target, USED, (*names, *getattr(target, USED, ())))
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
        MonkeyPatch=MonkeyPatch,
        importorskip=__import__, main=lambda *arguments, **named: 0,
    )  # fmt: skip
    return made
