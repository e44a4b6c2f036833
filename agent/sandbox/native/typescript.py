"""TypeScript: its types are taken away, unchecked, and what is left runs as JavaScript."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from agent.sandbox.native.javascript import JavaScript
from agent.sandbox.native.process import Allowed, Ended, Image, Process, token
from agent.sandbox.native.runtime import ENVIRONMENT, HOME, Artifact, Refused, Source
from agent.sandbox.native.toolchain import Toolchain
from agent.sandbox.process import WorkerProcess
from agent.sandbox.walls.command import Command
from agent.sandbox.wire.codec import Json
from memory.records import Fault, Outcome

_STRIP = Path(__file__).with_name("strip.cjs").read_bytes()
_STRIP_PATH = f"{HOME}/strip.cjs"
_STRIPPER = Allowed(memory_mb=2048, cpu=10.0, test_cpu=10.0, output_bytes=16 * 1024 * 1024)
_ESBUILD_ERROR = re.compile(r"\[ERROR\] (?P<message>.*)\n\n\s*<stdin>:(?P<line>\d+):(?P<column>\d+):")


class TypeScript:
    """Implements `runtime.Runtime`."""

    def __init__(self, toolchain: Toolchain) -> None:
        self._toolchain = toolchain
        self._javascript = JavaScript(toolchain)
        self._moved = False
        """The lines of what runs are not those of the program."""

    async def script(self, worker: WorkerProcess, source: Source) -> Artifact:
        return await self._javascript.script(worker, await self._stripped(worker, source))

    async def answering(self, worker: WorkerProcess, source: Source, calls: Sequence[str]) -> Artifact:
        return await self._javascript.answering(worker, await self._stripped(worker, source), calls)

    def explain(self, ended: Ended, source: Source) -> tuple[Outcome, Fault] | None:
        explained = self._javascript.explain(ended, source)
        return None if explained is None else self._placed(*explained)

    def thrown(self, told: Json, source: Source, *, compiling: bool = False) -> tuple[Outcome, Fault]:
        return self._placed(*self._javascript.thrown(told, source, compiling=compiling))

    def _placed(self, outcome: Outcome, fault: Fault) -> tuple[Outcome, Fault]:
        return outcome, replace(fault, line=None, span=None, traceback="") if self._moved else fault

    async def _stripped(self, worker: WorkerProcess, source: Source) -> Source:
        """The program as JavaScript. Raises Refused, WorkerLost."""
        with Image.of(_STRIP) as image, Process(worker, self._command(), image, _STRIPPER, source.code) as process:
            ended = await process.ended()
        if ended.exit.reason is not None or ended.overflow or (ended.exit.status != 0 and not self._by_esbuild):
            raise Refused(_refusal("the types of this program could not be taken away", ended))
        if self._by_esbuild:
            return self._made(source, _of_esbuild(ended), ended)
        try:
            made = json.loads(ended.stdout)
        except ValueError:
            made = {"message": "the types of this program could not be taken away", "line": 0, "column": 0}
        return self._made(source, made, ended)

    @property
    def _by_esbuild(self) -> bool:
        return self._toolchain.stripper_runs

    def _made(self, source: Source, made: dict[str, Json], ended: Ended) -> Source:
        if "message" in made:
            raise Refused(_refusal(str(made["message"]), ended, int(made["line"]), int(made["column"])))
        self._moved = bool(made["moved"])
        return replace(source, code=str(made["code"]))

    def _command(self) -> Command:
        stripper = self._toolchain.stripper
        if self._by_esbuild:
            executable, files = stripper, []
            argv = ["esbuild", "--loader=ts", "--log-level=error", "--color=false"]
        else:
            executable, files = self._toolchain.executable, [(_STRIP_PATH, len(_STRIP))]
            argv = ["node", "--no-warnings", _STRIP_PATH, *([stripper] if stripper else [])]
        return Command(
            executable=executable, argv=argv, environment=ENVIRONMENT, files=files, counts_data=True, token=token()
        )


def _of_esbuild(ended: Ended) -> dict[str, Json]:
    if ended.exit.status == 0:
        return {"code": ended.stdout.decode("utf-8", "replace"), "moved": True}
    found = _ESBUILD_ERROR.search(ended.stderr.decode("utf-8", "replace"))
    if found is None:
        return {"message": "esbuild refused this program", "line": 0, "column": 0}
    return {"message": found["message"], "line": int(found["line"]), "column": int(found["column"])}


def _refusal(message: str, ended: Ended, line: int = 0, column: int = 0) -> Fault:
    return Fault(
        type="SyntaxError",
        message=message[:1000],
        line=line or None,
        span=(line, column, line, column + 1) if line else None,
        traceback=ended.stderr.decode("utf-8", "replace").strip()[:4000],
    )
