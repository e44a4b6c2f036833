"""The fixtures that pytest itself brings: `tmp_path`, `monkeypatch`, `capsys`, `request`.

Standard library only: this module runs inside the jail.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from agent.sandbox.suite.monkeypatch import MonkeyPatch


class Printed(NamedTuple):
    """What `capsys.readouterr` returns."""

    out: str
    err: str


class Capsys:
    """Keeps what is printed during a test."""

    def __init__(self) -> None:
        self._out = io.StringIO()
        self._err = io.StringIO()

    def readouterr(self) -> Printed:
        """What was printed since the last call."""
        made = Printed(self._out.getvalue(), self._err.getvalue())
        for stream in (self._out, self._err):
            stream.seek(0)
            stream.truncate()
        return made

    @contextlib.contextmanager
    def disabled(self) -> Iterator[None]:
        """Print as usual for a while."""
        with contextlib.redirect_stdout(sys.__stdout__), contextlib.redirect_stderr(sys.__stderr__):
            yield

    @contextlib.contextmanager
    def capturing(self) -> Iterator[Capsys]:
        """Keep what is printed in the block."""
        with contextlib.redirect_stdout(self._out), contextlib.redirect_stderr(self._err):
            yield self


class Fixtures:
    """Makes them, each within the context of one test."""

    def __init__(self, *, in_process: bool) -> None:
        self._in_process = in_process
        self._makers: dict[str, Callable[[contextlib.ExitStack], Any]] = {
            "tmp_path": lambda stack: Path(stack.enter_context(_folder())),
            "monkeypatch": lambda stack: stack.enter_context(MonkeyPatch.context()),
            "capsys": self._capsys,
        }

    def make(self, name: str, stack: contextlib.ExitStack) -> Any:
        """The value of a fixture; `stack` is closed when the test ends. Raises LookupError."""
        if name not in self._makers:
            raise LookupError(f"fixture {name!r} is not available in this sandbox")
        return self._makers[name](stack)

    def _capsys(self, stack: contextlib.ExitStack) -> Capsys:
        if not self._in_process:
            raise LookupError("capsys sees what the program prints only in tests marked in_process")
        return stack.enter_context(Capsys().capturing())


def _folder() -> contextlib.AbstractContextManager[str]:
    """A new folder. What makes it is imported for it: few tests want one, and its libraries would cost every fork."""
    import tempfile

    return tempfile.TemporaryDirectory()
