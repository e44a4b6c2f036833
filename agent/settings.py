"""Settings of the loop and of the sandbox; the program that runs them builds these once."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Frozen(BaseModel):
    """Base of all settings groups: immutable, unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RefineSettings(Frozen):
    """Defaults and upper bounds of one refinement; a request may ask for less or, up to the bounds, for more."""

    max_candidates: int = Field(default=16, ge=1)
    """Programs sampled in all."""
    max_rounds: int = Field(default=3, ge=0)
    """Repair rounds after the first sampling."""
    deadline_s: float = Field(default=120.0, gt=0)
    """Wall-clock budget, where neither the request nor the client's time-out states one."""
    repair: bool = False
    """Whether failing programs are shown to the model, where the request does not say; so with the next three."""
    prefix_seeds: bool = False
    """Whether the beginnings of passing programs are continued."""
    generated_tests: bool = True
    """Whether passing programs are compared by their answers to inputs that the statement does not show, and whether
    the model writes tests where the statement has none."""
    critic: bool = False
    """Whether the critic is asked."""
    record: Path | None = None
    """For benchmarks: a file that keeps every answer of the engine and answers equal questions."""
    candidates_bound: int = Field(default=64, ge=1)
    """Largest `max_candidates` a request may ask for."""
    rounds_bound: int = Field(default=16, ge=0)
    """Largest `max_rounds` a request may ask for."""
    deadline_bound_s: float = Field(default=3600.0, gt=0)
    """Largest `deadline_s` a request may ask for."""


class MemorySettings(Frozen):
    """How long-term memory is kept and used."""

    enabled: bool = True
    """Whether the server remembers at all; a request can do without by `burnish.memory`."""
    url: str | None = None
    """A Chroma server, e.g. `http://127.0.0.1:8001`; None is Chroma in the data directory."""
    model: str = "all-MiniLM-L6-v2"
    """Embedding model: this one comes with the installation; else a name of a hub or a folder."""
    floor: float = Field(default=0.5, ge=-1, le=1)
    """Cosine below which an experience is not recalled."""
    reuse: float = Field(default=0.75, ge=-1, le=1)
    """Cosine from which a remembered program is tried as it is, before anything is sampled (how it was found:
    docs/benchmarks.md)."""
    shown: int = Field(default=2, ge=0)
    """Experiences in one prompt."""
    tokens: int = Field(default=600, ge=0)
    """What they may add to it, roughly."""
    patience_s: float = Field(default=0.5, gt=0)
    """How long a request waits for memory before it goes on without."""
    most: int = Field(default=1_000_000, ge=1)
    """Experiences kept per tenant; beyond that the least useful go."""


class SandboxSettings(Frozen):
    """How programs are executed."""

    workers: int = Field(default=0, ge=0)
    """Worker processes; 0 means one per core."""
    queue: int = Field(default=256, ge=0)
    """Programs that may wait for a worker before `POST /burnish/execute` answers 503."""
    tier: Literal["auto", "A", "B"] = "auto"
    """Isolation tier (docs/sandbox.md): `A` needs namespaces, `B` works without them; `auto` takes `A` where it can."""
    node: str = "node"
    """Node.js, for programs in JavaScript and TypeScript: a name on the PATH, or a path."""
    cxx: str = "g++"
    """g++, for programs in C++: a name on the PATH, or a path."""
