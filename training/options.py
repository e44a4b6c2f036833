"""What the commands that read kept attempts are told in the same words, and how they fail.

Exit status: 1 it could not be done; 2 wrong settings.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from transformers.utils import logging as transformers_logging

from agent.problems import ProblemFileError, load
from memory.errors import StoreUnavailable
from memory.records import Problem
from training.errors import BadSettings, TrainingError
from training.ranks import rank
from training.settings import TrainSettings
from training.settings import load as load_settings

RunFolder = Annotated[Path, typer.Argument(help="Folder of the run; one that was begun goes on.")]
Base = Annotated[Path, typer.Option(exists=True, file_okay=False, help="Folder of the served base model.")]
BaseName = Annotated[str, typer.Option(help="The name it is served under: version 0 of the policy.")]
Start = Annotated[Path | None, typer.Option(exists=True, file_okay=False, help="Adapter folder to begin with.")]
Config = Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Settings as TOML.")]
Given = Annotated[list[str] | None, typer.Option("--set", help="One setting, e.g. lora.rank=8.")]
DataDir = Annotated[Path | None, typer.Option(help="The server's data directory.")]
StoreUrl = Annotated[str | None, typer.Option(help="SQLAlchemy URL of the trajectory store.")]


def settings_of(
    config: Path | None, given: list[str] | None, base_name: str, more: dict[str, dict[str, str]]
) -> TrainSettings:
    """Settings from a file and `--set`, and `more` of them. Raises BadSettings."""
    transformers_logging.disable_progress_bar()
    return load_settings(config, given or (), {"data": {"base": base_name}, **more})


def problems_of(files: list[Path] | None) -> list[Problem]:
    """Of all the files. Raises ProblemFileError."""
    return [problem for file in files or () for problem in load(file)]


def say(console: Console, text: str) -> None:
    """A line, from the first of several processes."""
    if rank() == 0:
        console.print(text)


@contextmanager
def failures(console: Console) -> Iterator[None]:
    """Exceptions with a message for whoever gave the command."""
    try:
        yield
    except BadSettings as error:
        console.print(str(error))
        raise typer.Exit(2) from error
    except (TrainingError, StoreUnavailable, ProblemFileError) as error:
        console.print(str(error))
        raise typer.Exit(1) from error
