"""What can go wrong while training.

TrainingError
├── BadData            a dataset or a problem file cannot be trained on: nothing is left, or it is broken
├── BadSettings        settings contradict each other, or name a shape of adapter that the engine cannot serve
├── CheckpointError    a checkpoint cannot be written, or belongs to another base model, dataset or adapter shape
├── Diverged           the loss was not finite, or nothing was to be learned, several steps in a row
└── PublishError       an adapter cannot be published: half-written, refused by the server, or not proved
"""

from __future__ import annotations


class TrainingError(Exception):
    """Root of this package's exceptions; the message says what failed and what to do."""


class BadData(TrainingError):
    """A dataset or a problem file cannot be trained on."""


class BadSettings(TrainingError):
    """Settings contradict each other or cannot be served."""


class CheckpointError(TrainingError):
    """A checkpoint cannot be written or does not fit this run."""


class Diverged(TrainingError):
    """Several steps in a row had no finite loss, or nothing to learn."""


class PublishError(TrainingError):
    """An adapter cannot be published."""
