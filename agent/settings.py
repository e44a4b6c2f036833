"""Settings of the loop and of the sandbox; the program that runs them builds these once."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Frozen(BaseModel):
    """Base of all settings groups: immutable, unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SandboxSettings(Frozen):
    """How programs are executed."""

    workers: int = Field(default=0, ge=0)
    """Worker processes; 0 means one per core."""
    tier: Literal["A", "B"] = "A"
    """Weakest isolation tier that is accepted; below it nothing is executed."""
