"""C++, by g++: compiled once per run, executed from memory."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from agent.sandbox.native import complaints
from agent.sandbox.native.process import Allowed, Ended, Image, Process, token
from agent.sandbox.native.runtime import ENVIRONMENT, HOME, Artifact, Refused, Source
from agent.sandbox.native.toolchain import Toolchain
from agent.sandbox.process import WorkerProcess
from agent.sandbox.testimony import of_fault
from agent.sandbox.walls.command import Command
from agent.sandbox.wire.codec import Json
from memory.records import Fault, Outcome

_PROGRAM = "program.cpp"
_HEADERS = {name: Path(__file__).with_name(name).read_text(encoding="utf-8") for name in ("guard.hpp", "harness.hpp")}
_COMPILER = Allowed(memory_mb=1024, cpu=10.0, test_cpu=10.0, output_bytes=4 * 1024 * 1024)
"""What the compiler may use; its processor time is limited for each of its processes, all together by the clock."""
_ROUNDS = 4
"""So often calls that do not compile are left out."""
_ABORTED = 128 + signal.SIGABRT
_CALL = re.compile(r"call-(\d+)$")
_TERMINATED = re.compile(r"terminate called after throwing an instance of '(.*)'(?:\n  what\(\):  (.*))?")
_NO_MEMORY = ("std::bad_alloc", "std::bad_array_new_length")


class Cpp:
    """Implements `runtime.Runtime`."""

    def __init__(self, toolchain: Toolchain) -> None:
        self._toolchain = toolchain

    async def script(self, worker: WorkerProcess, source: Source) -> Artifact:
        main = f'#include "guard.hpp"\n#include "prelude.hpp"\n#include "{_PROGRAM}"\n'
        return self._artifact(source, await self._compiled(worker, source, main), talks=False)

    async def answering(self, worker: WorkerProcess, source: Source, calls: Sequence[str]) -> Artifact:
        refused: dict[int, Fault] = {}
        for _ in range(_ROUNDS):
            made = {number: call for number, call in enumerate(calls) if number not in refused}
            try:
                image = await self._compiled(worker, source, _answering(made))
                return self._artifact(source, image, talks=True, orders=tuple(range(len(calls))), refused=refused)
            except _WrongCalls as wrong:
                refused |= wrong.faults
        raise Refused(next(iter(refused.values())))

    def explain(self, ended: Ended, source: Source) -> tuple[Outcome, Fault] | None:
        status = ended.exit.status
        if status == -signal.SIGSEGV:
            message = "ended by SIGSEGV: a bad pointer or index, or recursion too deep for the stack"
            return Outcome.RUNTIME_ERROR, Fault(type="SIGSEGV", message=message)
        if status != _ABORTED:
            return None
        stderr = ended.stderr.decode("utf-8", "replace")
        thrown = list(_TERMINATED.finditer(stderr))
        if thrown:
            kind, message = thrown[-1][1], thrown[-1][2] or ""
            outcome = Outcome.MEMORY_LIMIT if kind in _NO_MEMORY else Outcome.RUNTIME_ERROR
            return outcome, Fault(type=kind, message=message[:1000] or f"uncaught {kind}")
        said = (stderr.strip().splitlines() or ["the program was ended by SIGABRT"])[-1]
        return Outcome.RUNTIME_ERROR, Fault(type="SIGABRT", message=said[:1000])

    def thrown(self, told: Json, source: Source, *, compiling: bool = False) -> tuple[Outcome, Fault]:
        return of_fault(told)

    def _artifact(
        self,
        source: Source,
        image: Image,
        *,
        talks: bool,
        orders: Sequence[Json] = (),
        refused: Mapping[int, Fault] | None = None,
    ) -> Artifact:
        return Artifact(
            command=Command(executable="", argv=["program"], environment=ENVIRONMENT, talks=talks, token=token()),
            image=image,
            memory_mb=source.limits.memory_mb,
            orders=orders,
            refused=refused or {},
        )

    async def _compiled(self, worker: WorkerProcess, source: Source, main: str) -> Image:
        """The executable. Raises Refused, _WrongCalls if only calls do not compile, WorkerLost."""
        texts = {**_HEADERS, "prelude.hpp": source.prelude + "\n", _PROGRAM: source.code + "\n", "main.cpp": main}
        contents = {name: text.encode("utf-8", "surrogatepass") for name, text in texts.items()}
        command = Command(
            executable=self._toolchain.executable,
            argv=[
                self._toolchain.executable, f"-std={self._toolchain.standard}", "-O2", "-w", "-pipe", "-pthread",
                "-fdiagnostics-color=never", "-ftabstop=1", "-fmax-errors=300", "-o", "program", "main.cpp",
            ],
            environment=ENVIRONMENT,
            files=[(f"{HOME}/{name}", len(text)) for name, text in contents.items()],
            collect=f"{HOME}/program",
            forks=True,
            token=token(),
        )  # fmt: skip
        image = Image.of(*contents.values())
        try:
            with Process(worker, command, image, _COMPILER) as process:
                ended = await process.ended()
            if ended.exit.status != 0 or ended.exit.reason is not None:
                raise _refusal(ended)
            image.seal()
        except BaseException:
            image.close()
            raise
        return image


class _WrongCalls(Exception):
    """Some calls do not compile, and nothing else is wrong."""

    def __init__(self, faults: dict[int, Fault]) -> None:
        super().__init__()
        self.faults = faults


def _refusal(ended: Ended) -> Exception:
    stderr = ended.stderr.decode("utf-8", "replace")
    if ended.exit.reason is not None:
        limit = "the program takes too long to compile" if not ended.overflow else "the compiler complains without end"
        return Refused(Fault(type="CompileError", message=limit, traceback=stderr[:1000]))
    found = complaints.read(stderr)
    wrong: dict[int, Fault] = {}
    for complaint in found:
        call = _CALL.match(complaint.file)
        if call is None:
            first = next((other for other in found if other.file == _PROGRAM), found[0])
            told = complaints.fault(first, stderr)
            return Refused(told if first.file == _PROGRAM else replace(told, line=None, span=None))
        wrong.setdefault(int(call[1]), Fault(type="CompileError", message=complaint.message))
    return _WrongCalls(wrong) if wrong else Refused(complaints.fault(None, stderr))


def _answering(calls: Mapping[int, str]) -> str:
    """The text around a program that answers `calls`."""
    functions = "".join(
        f"static void burnish_call_{number}(burnish_harness::Sink& burnish_sink) {{\n"
        "burnish_harness::emit(burnish_sink, "
        f'((\n#line 1 "call-{number}"\n{call}\n#line 1 "main.cpp"\n), burnish_harness::Nothing{{}}));\n}}\n'
        for number, call in calls.items()
    )
    choices = "".join(f"case {number}: return burnish_call_{number}(burnish_sink);\n" for number in calls)
    return (
        '#include "guard.hpp"\n#include "harness.hpp"\n#define main burnish_program_main\n#include "prelude.hpp"\n'
        f'#include "{_PROGRAM}"\n#undef main\n{functions}'
        "void burnish_harness::call(unsigned burnish_number, Sink& burnish_sink) {\n"
        f"switch (burnish_number) {{\n{choices}}}\n}}\n"
    )
