"""The numbers of each step, one JSON object a line, on disk as soon as the step is done (docs/metrics.md)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

from agent.adapters import replace_text
from training.errors import CheckpointError

NAME = "metrics.jsonl"


class Metrics:
    """`metrics.jsonl` of a run folder."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / NAME

    def add(self, step: int, line: Mapping[str, float]) -> None:
        """Append one step. Raises CheckpointError if the disk does not take it."""
        rounded = {name: float(f"{value:.6g}") if math.isfinite(value) else None for name, value in line.items()}
        try:
            with self._file.open("a") as out:
                out.write(json.dumps({"step": step, **rounded}) + "\n")
        except OSError as error:
            raise CheckpointError(
                f"step {step} cannot be noted in {self._file} ({error}); make room on the disk and start the same "
                "command again: it goes on from the last checkpoint"
            ) from error

    def rewind(self, step: int) -> None:
        """Forget the steps after `step`, which are done again, and a line that a kill cut off."""
        kept = [line for line in read(self._file) if line["step"] <= step]
        if self._file.exists():
            replace_text(self._file, "".join(json.dumps(line) + "\n" for line in kept))


def read(file: Path) -> list[dict[str, float]]:
    """All whole lines, `step` an int; none without a file. What was not finite is missing in its line."""
    if not file.exists():
        return []
    lines = []
    for text in file.read_text().splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue
    return [{name: value for name, value in line.items() if value is not None} for line in lines]
