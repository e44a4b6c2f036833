"""Tells the server about the cases of one unit of tests, as they run.

Standard library only: this module runs inside the jail.
"""

from __future__ import annotations

import time
import unittest
from collections.abc import Callable
from typing import Any

from agent.sandbox.program import fault
from agent.sandbox.program.trace import Hits
from agent.sandbox.suite import minipytest
from agent.sandbox.wire import codec
from agent.sandbox.wire.codec import Json
from agent.sandbox.wire.rpc import Gone

MAX_TEXT = 500

Send = Callable[[dict[str, Json]], None]
Describe = Callable[[BaseException], dict[str, Json] | None]
"""The fault record of an exception that the program raised; None for one of the test code's own."""


class MissingName(ImportError):
    """Test code imports a name that the program does not define."""


class Recorder:
    """The cases of one unit."""

    def __init__(self, send: Send, unit: int, skip: set[int], hits: Hits, describe: Describe) -> None:
        self._send_it = send
        self._unit = unit
        self._skip = skip
        self._hits = hits
        self._describe = describe
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
        self._finish_rest(meaning)

    def skipped(self) -> None:
        """The tests themselves left this case out."""
        self._finish({"outcome": "skipped"})

    def close(self) -> None:
        """End of the unit: the open case passed, cases never reached did not run."""
        if self._open is not None:
            self.passed()
        self._finish_rest({"outcome": "failed_test", "message": "this case was never reached"})

    def _finish_rest(self, meaning: dict[str, Json]) -> None:
        for case in range(self._planned):
            if case not in self._finished and case not in self._skip:
                self._open = case
                self._finish(meaning)

    def _meaning(self, error: BaseException) -> dict[str, Json]:
        told: dict[str, Json] = {"message": fault.message_of(error)[:MAX_TEXT]}
        described = self._describe(error)
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
        told = {"event": "result", "case": case, "seconds": seconds, "hits": self._hits.read()}
        try:
            self._send({**told, **result})
        except codec.Unserialisable as error:
            self._send({**told, "outcome": "failed_test", "message": str(error)})
        self._hits.clear()

    def _send(self, message: dict[str, Json]) -> None:
        self._send_it({"unit": self._unit, **message})


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except Exception as error:
        text = f"<{type(error).__name__} in repr>"
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "..."
