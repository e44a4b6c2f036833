"""What running a program takes, whatever its language; each language implements `Runtime`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from agent.sandbox.native.process import Ended, Image
from agent.sandbox.process import WorkerProcess
from agent.sandbox.walls.command import Command
from agent.sandbox.wire.codec import Json
from memory.records import Fault, Limits, Outcome

HOME = "/tmp"
"""The private folder of every command."""
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": HOME, "TMPDIR": HOME, "LC_ALL": "C.UTF-8"}


@dataclass(frozen=True, slots=True)
class Source:
    """What is executed."""

    code: str
    prelude: str
    limits: Limits
    seed: int = 0
    """Of the random numbers, where a runtime takes one."""

    @property
    def whole(self) -> str:
        """Prelude and program as one text."""
        return f"{self.prelude}\n{self.code}" if self.prelude else self.code

    @property
    def before(self) -> int:
        """Lines of `whole` that stand before the program."""
        return self.prelude.count("\n") + 1 if self.prelude else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A program made ready to run; whoever gets one closes its image."""

    command: Command
    image: Image
    memory_mb: int
    greeting: dict[str, Json] | None = None
    """First message to a harness that wants one."""
    orders: Sequence[Json] = ()
    """What a harness is told for each call."""
    refused: Mapping[int, Fault] = field(default_factory=dict)
    """Calls that cannot be made, by their place."""


class Refused(Exception):
    """The program, or a call, does not compile."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


class Runtime(Protocol):
    """How a program of one language is made and what it says when it fails; one for each run."""

    async def script(self, worker: WorkerProcess, source: Source) -> Artifact:
        """The program as such. Raises Refused, WorkerLost."""

    async def answering(self, worker: WorkerProcess, source: Source, calls: Sequence[str]) -> Artifact:
        """The program with a harness that answers `calls`. Raises Refused, WorkerLost."""

    def explain(self, ended: Ended, source: Source) -> tuple[Outcome, Fault] | None:
        """What the last words of a program that ended by itself say about why; None if nothing."""

    def thrown(self, told: Json, source: Source, *, compiling: bool = False) -> tuple[Outcome, Fault]:
        """Outcome and record of an exception that a harness described."""
