"""JavaScript, by node."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from pathlib import Path

from agent.sandbox.native import stack
from agent.sandbox.native.process import Ended, Image, token
from agent.sandbox.native.runtime import ENVIRONMENT, HOME, Artifact, Source
from agent.sandbox.native.stack import Thrown
from agent.sandbox.native.toolchain import Toolchain
from agent.sandbox.process import WorkerProcess
from agent.sandbox.testimony import text
from agent.sandbox.walls.command import Command
from agent.sandbox.wire.codec import Json
from memory.records import Fault, Outcome

_HARNESS = Path(__file__).with_name("harness.cjs").read_bytes()
_PRELOAD = Path(__file__).with_name("preload.cjs").read_bytes()
_PRELOAD_PATH = f"{HOME}/preload.cjs"
_ENVIRONMENT = {**ENVIRONMENT, "NO_COLOR": "1", "UV_THREADPOOL_SIZE": "2", "UV_USE_IO_URING": "0"}
_ROOM_MB = 96
"""What node itself writes to later, besides the heap whose size is the program's limit: young objects, stacks."""
_MODULE = re.compile(
    r"""^(?:import\s*(?:[\w*{$'"]|\w+\s*,)|export\s+(?:default|const|let|var|function|async|class)\b|export\s*[{*]"""
    r"""|(?:(?:const|let|var)\s[^=\n]*=\s*)?await\b|for\s+await\b)""",
    re.MULTILINE,
)
"""What only a module may hold, at the beginning of a line."""
_GAVE_UP = {-signal.SIGABRT, -signal.SIGSEGV, -signal.SIGILL, -signal.SIGTRAP, -signal.SIGBUS}
_TOLD = 100_000
"""Characters of an exception's text that are read."""


class JavaScript:
    """Implements `runtime.Runtime`."""

    def __init__(self, toolchain: Toolchain) -> None:
        self._toolchain = toolchain

    async def script(self, worker: WorkerProcess, source: Source) -> Artifact:
        path = f"{HOME}/program.{'mjs' if _is_module(source) else 'js'}"
        return self._artifact(source, path, source.whole.encode("utf-8", "surrogatepass"), talks=False)

    async def answering(self, worker: WorkerProcess, source: Source, calls: Sequence[str]) -> Artifact:
        greeting: dict[str, Json] = {"code": source.whole, "module": _is_module(source)}
        return self._artifact(
            source, f"{HOME}/harness.cjs", _HARNESS, talks=True, greeting=greeting, orders=tuple(calls)
        )

    def explain(self, ended: Ended, source: Source) -> tuple[Outcome, Fault] | None:
        stderr = ended.stderr.decode("utf-8", "replace")
        if ended.exit.status in _GAVE_UP and stack.out_of_memory(stderr):
            message = f"the heap limit of {source.limits.memory_mb} MB was reached"
            return Outcome.MEMORY_LIMIT, Fault(type=Outcome.MEMORY_LIMIT.value, message=message)
        if ended.exit.status <= 0:
            return None
        thrown = stack.last_words(stderr, before=source.before, lines=_lines(source))
        return None if thrown is None else _outcome(thrown)

    def thrown(self, told: Json, source: Source, *, compiling: bool = False) -> tuple[Outcome, Fault]:
        record = told if type(told) is dict else {}
        kind, message, trace = (text(record.get(key), _TOLD) for key in ("type", "message", "stack"))
        read = stack.read(kind or "Error", message, trace, before=source.before, lines=_lines(source))
        if compiling and read.compiling:
            return Outcome.COMPILE_ERROR, read.fault
        return _outcome(Thrown(read.fault, False, read.memory))

    def _artifact(
        self,
        source: Source,
        path: str,
        contents: bytes,
        *,
        talks: bool,
        greeting: dict[str, Json] | None = None,
        orders: Sequence[Json] = (),
    ) -> Artifact:
        command = Command(
            executable=self._toolchain.executable,
            argv=[
                "node",
                f"--max-old-space-size={source.limits.memory_mb}",
                f"--random-seed={source.seed + 1}",
                "--v8-pool-size=1",
                "--no-warnings",
                f"--require={_PRELOAD_PATH}",
                path,
            ],
            environment=_ENVIRONMENT,
            files=[(_PRELOAD_PATH, len(_PRELOAD)), (path, len(contents))],
            counts_data=True,
            talks=talks,
            token=token(),
        )
        return Artifact(
            command=command,
            image=Image.of(_PRELOAD, contents),
            memory_mb=source.limits.memory_mb + self._toolchain.data_mb + _ROOM_MB,
            greeting=greeting,
            orders=orders,
        )


def _is_module(source: Source) -> bool:
    return _MODULE.search(source.whole) is not None


def _lines(source: Source) -> int:
    return source.code.count("\n") + 1


def _outcome(thrown: Thrown) -> tuple[Outcome, Fault]:
    if thrown.compiling:
        return Outcome.COMPILE_ERROR, thrown.fault
    return (Outcome.MEMORY_LIMIT if thrown.memory else Outcome.RUNTIME_ERROR), thrown.fault
