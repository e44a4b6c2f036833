"""Failures while getting a model onto this machine and an engine process up.

LocalEngineError
├── ModelError
│   ├── ModelNotFound        no source has it; `.tried` says what each one answered
│   ├── SourceFailed         one source cannot deliver: unreachable, offline, broken download
│   ├── WrongDigest          the bytes are not the expected ones
│   └── ConversionFailed     a GGUF file did not become a model folder
├── EnvironmentMissing       the engine's Python environment is not there
└── EngineFailed             the engine process does not stay up; `.log_tail` is what it said last
"""

from __future__ import annotations

from collections.abc import Sequence


class LocalEngineError(Exception):
    """Root of this package's exceptions."""


class ModelError(LocalEngineError):
    """A model cannot be had."""


class ModelNotFound(ModelError):
    """No source delivers the model."""

    def __init__(self, model: str, tried: Sequence[str]) -> None:
        reasons = "".join(f"\n  - {reason}" for reason in tried)
        super().__init__(f"cannot get the model {model!r}; tried:{reasons}" if tried else f"no model {model!r}")
        self.tried = tuple(tried)


class SourceFailed(ModelError):
    """A source cannot deliver; another one may."""


class WrongDigest(ModelError):
    """Downloaded or assembled bytes are not the expected ones and are not used."""

    def __init__(self, what: str, expected: str, actual: str) -> None:
        super().__init__(f"{what} is refused: its SHA-256 is {actual}, expected {expected}")
        self.expected = expected
        self.actual = actual


class ConversionFailed(ModelError):
    """The GGUF file cannot be turned into a model folder."""


class EnvironmentMissing(LocalEngineError):
    """The engine's Python environment is missing or incomplete."""


class EngineFailed(LocalEngineError):
    """The engine process died too often or never became ready."""

    def __init__(self, message: str, log_tail: str = "") -> None:
        super().__init__(f"{message}\n{log_tail}".rstrip())
        self.log_tail = log_tail
