"""TypeScript: its types are taken away by node, unchecked, and what is left runs as JavaScript."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from agent.sandbox.codec import Json
from agent.sandbox.command import Command
from agent.sandbox.native.javascript import JavaScript
from agent.sandbox.native.process import Allowed, Ended, Image, Process, token
from agent.sandbox.native.runtime import ENVIRONMENT, HOME, Artifact, Refused, Source
from agent.sandbox.native.toolchain import Toolchain
from agent.sandbox.process import WorkerProcess
from memory.records import Fault, Outcome

_STRIP = Path(__file__).with_name("strip.cjs").read_bytes()
_STRIPPER = Allowed(memory_mb=1024, cpu=10.0, test_cpu=10.0, output_bytes=16 * 1024 * 1024)
_THROWN = re.compile(r"^(?:\w*Error)(?: \[(?P<code>\w+)\])?: (?P<message>.*)$", re.MULTILINE)


class TypeScript:
    """Implements `runtime.Runtime`."""

    def __init__(self, toolchain: Toolchain) -> None:
        self._toolchain = toolchain
        self._javascript = JavaScript(toolchain)

    async def script(self, worker: WorkerProcess, source: Source) -> Artifact:
        return await self._javascript.script(worker, await self._stripped(worker, source))

    async def answering(self, worker: WorkerProcess, source: Source, calls: Sequence[str]) -> Artifact:
        return await self._javascript.answering(worker, await self._stripped(worker, source), calls)

    def explain(self, ended: Ended, source: Source) -> tuple[Outcome, Fault] | None:
        return self._javascript.explain(ended, source)

    def thrown(self, told: Json, source: Source, *, compiling: bool = False) -> tuple[Outcome, Fault]:
        return self._javascript.thrown(told, source, compiling=compiling)

    async def _stripped(self, worker: WorkerProcess, source: Source) -> Source:
        """The program as JavaScript. Raises Refused, WorkerLost."""
        path = f"{HOME}/strip.cjs"
        command = Command(
            executable=self._toolchain.executable,
            argv=["node", "--no-warnings", path],
            environment=ENVIRONMENT,
            files=[(path, len(_STRIP))],
            counts_data=True,
            token=token(),
        )
        with Image.of(_STRIP) as image, Process(worker, command, image, _STRIPPER, source.code) as process:
            ended = await process.ended()
        if ended.exit.status != 0 or ended.exit.reason is not None or ended.overflow:
            raise Refused(_fault(ended))
        return replace(source, code=ended.stdout.decode("utf-8", "replace"))


def _fault(ended: Ended) -> Fault:
    text = ended.stderr.decode("utf-8", "replace").strip()
    thrown = _THROWN.search(text)
    message = thrown["message"] if thrown else "the types of this program cannot be taken away"
    return Fault(type="SyntaxError", message=message[:1000], traceback=text[:4000])
