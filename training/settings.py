"""Everything the trainer can be told: command line before TOML before defaults. Unknown keys are errors.

[lora]                     [optimiser]                  [algorithm]
rank = 16                  learning_rate = 1e-4         name = "rltf"
                                                        options = { fine_weight = 0.3 }
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from agent.settings import Frozen
from training.adapter import LoraSettings
from training.buffer import BufferSettings
from training.critic import CriticSettings
from training.dataset import DatasetSettings
from training.errors import BadSettings
from training.loop import OptimiserSettings


class BatchSettings(Frozen):
    """How many samples are learned from at the same time."""

    sequences: int = Field(default=16, ge=1)
    """Samples of one optimiser step, of all processes together."""
    micro_tokens: int = Field(default=2048, ge=1)
    """Largest micro-batch, padding included: memory, not the result, depends on it."""
    judged: int = Field(default=64, ge=0)
    """Held-out samples that are looked at before each checkpoint."""


class AlgorithmSettings(Frozen):
    """Which algorithm turns samples into streams."""

    name: str = "rft"
    """A name of training/algorithms.py."""
    options: Mapping[str, Any] = Field(default_factory=dict)
    """Settings of that algorithm; its file says which there are."""


class RunSettings(Frozen):
    """How long, from which random numbers, and how often it is saved."""

    epochs: float = Field(default=1.0, gt=0)
    """How often the samples are gone through, where `steps` does not say."""
    steps: int | None = Field(default=None, ge=1)
    """Optimiser steps."""
    seed: int = Field(default=0, ge=0)
    """Root of all random numbers."""
    save_every: int = Field(default=20, ge=1)
    """Steps from one checkpoint, and one look at the held-out samples, to the next."""
    threads: int = Field(default=0, ge=0)
    """Threads of torch; 0: what it takes by itself (OMP_NUM_THREADS, else one per core)."""


class TrainSettings(Frozen):
    """All groups."""

    lora: LoraSettings = LoraSettings()
    optimiser: OptimiserSettings = OptimiserSettings()
    data: DatasetSettings = DatasetSettings(base="")
    buffer: BufferSettings | None = None
    """Of a policy run: learn from the newest samples only, as online training does; None: from all."""
    batch: BatchSettings = BatchSettings()
    algorithm: AlgorithmSettings = AlgorithmSettings()
    """Of a policy run."""
    critic: CriticSettings = CriticSettings()
    """Of a critic run."""
    run: RunSettings = RunSettings()

    def belonging(self) -> dict[str, str]:
        """What a run cannot change on its way, by name; the rest may differ when it goes on."""
        return {
            "adapter shape": self.lora.model_dump_json(exclude={"max_rank", "checkpointing"}),
            "optimiser": self.optimiser.model_dump_json(),
            "batch size": str(self.batch.sequences),
            "algorithm": self.algorithm.model_dump_json(),
            "critic": self.critic.model_dump_json(exclude={"micro_tokens"}),
            "seed": str(self.run.seed),
        }


def load(file: Path | None = None, given: Sequence[str] = (), more: Mapping[str, Any] | None = None) -> TrainSettings:
    """`given` are `group.key=value` from the command line, values as TOML or plain text; `more` the same, nested.

    Raises BadSettings that names the key."""
    values: dict[str, Any] = {}
    if file is not None:
        try:
            values = tomllib.loads(file.read_text())
        except (OSError, ValueError) as error:
            raise BadSettings(f"the settings in {file} cannot be read: {error}") from error
    _merge(values, more or {})
    for item in given:
        _merge(values, _nested(item))
    return checked(values)


def checked(values: Mapping[str, Any]) -> TrainSettings:
    """Settings from nested values. Raises BadSettings that names the key."""
    try:
        return TrainSettings.model_validate(values)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise BadSettings("; ".join(problems)) from error


def _nested(item: str) -> dict[str, Any]:
    path, separator, text = item.partition("=")
    if not separator or not all(path.split(".")):
        raise BadSettings(f"{item!r} is no setting; write group.key=value, for example lora.rank=8")
    made: Any = _value(text)
    for key in reversed(path.split(".")):
        made = {key: made}
    return dict(made)


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _merge(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = dict(value) if isinstance(value, Mapping) else value
