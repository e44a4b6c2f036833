"""The command line: collect, train, export, evaluate, publish. Each command explains itself with --help.

Exit status: 0 done; 1 it could not be done, or was told to stop (the same command goes on); 2 wrong settings.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, TypeVar

import platformdirs
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers.utils import logging as transformers_logging

from agent.problems import ProblemFileError, load
from memory.errors import StoreUnavailable
from memory.records import Problem
from training import collect_command, critic_run, evaluate, policy, publish
from training.errors import BadSettings, TrainingError
from training.export import export
from training.loop import Line
from training.ranks import group, rank
from training.run import Run, best, carry_out
from training.settings import TrainSettings
from training.settings import load as load_settings

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Learning from kept attempts.")
app.command("collect")(collect_command.command)
app.command("evaluate")(evaluate.command)
app.command("publish")(publish.command)

E = TypeVar("E")
C = TypeVar("C")

_SHOWN = ("loss", "held_out/loss", "tokens_per_second")


RunFolder = Annotated[Path, typer.Argument(help="Folder of the run; one that was begun goes on.")]
Base = Annotated[Path, typer.Option(exists=True, file_okay=False, help="Folder of the served base model.")]
BaseName = Annotated[str, typer.Option(help="The name it is served under: version 0 of the policy.")]
Start = Annotated[Path | None, typer.Option(exists=True, file_okay=False, help="Adapter folder to begin with.")]
Config = Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Settings as TOML.")]
Given = Annotated[list[str] | None, typer.Option("--set", help="One setting, e.g. lora.rank=8.")]
DataDir = Annotated[Path | None, typer.Option(help="The server's data directory.")]
StoreUrl = Annotated[str | None, typer.Option(help="SQLAlchemy URL of the trajectory store.")]


@app.command("policy")
def train_policy(
    run: RunFolder,
    base: Base,
    base_name: BaseName,
    algorithm: Annotated[str | None, typer.Option(help="sft, rft, coderl, rltf, stepcoder or grpo.")] = None,
    problems: Annotated[
        list[Path] | None, typer.Option(exists=True, help="Problem files whose reference solutions may be used.")
    ] = None,
    start: Start = None,
    critic: Annotated[
        Path | None,
        typer.Option(
            exists=True, file_okay=False, help="Adapter folder of a critic that weighs tokens (CodeRL, RLTF)."
        ),
    ] = None,
    config: Config = None,
    given: Given = None,
    data_dir: DataDir = None,
    store_url: StoreUrl = None,
) -> None:
    """Train the policy on kept attempts. The adapter to publish is the checkpoint that is printed at the end."""
    console = Console(stderr=True)
    with _failures(console), group():
        more = {"algorithm": {"name": algorithm}} if algorithm is not None else {}
        settings = _settings(config, given, base_name, more)
        known = _problems(problems)
        store = _store(data_dir, store_url)
        made = asyncio.run(policy.prepared(run, base, store, known, settings, start=start, critic=critic))
        _say(console, f"{settings.algorithm.name}: {made.facts}")
        _train(console, made.run)


@app.command("critic")
def train_critic(
    run: RunFolder,
    base: Base,
    base_name: BaseName,
    unseen: Annotated[
        list[Path] | None, typer.Option(exists=True, help="Problem files to measure on; their families are held out.")
    ] = None,
    start: Start = None,
    config: Config = None,
    given: Given = None,
    data_dir: DataDir = None,
    store_url: StoreUrl = None,
) -> None:
    """Train the critic on kept attempts, and measure it on those that are held out, beside the untrained one."""
    console = Console(stderr=True)
    with _failures(console), group():
        settings = _settings(config, given, base_name, {})
        problems = _problems(unseen)
        made = asyncio.run(critic_run.prepared(run, base, _store(data_dir, store_url), problems, settings, start=start))
        _say(console, f"critic: {made.facts}")
        _train(console, made.run)
        if rank() == 0 and made.unseen:
            for name, told in critic_run.measured(made).items():
                _say(console, f"{name}: { {key: told[key] for key in told if key != 'families'} }")


@app.command("export")
def export_samples(
    file: Annotated[Path, typer.Argument(help="Parquet file to write; the held-out part stands beside it.")],
    base: Base,
    base_name: BaseName,
    config: Config = None,
    given: Given = None,
    data_dir: DataDir = None,
    store_url: StoreUrl = None,
) -> None:
    """Write kept attempts as Parquet, in the columns that other trainers read; `reward` is the adaptive one."""
    console = Console(stderr=True)
    with _failures(console):
        settings = _settings(config, given, base_name, {})
        found = asyncio.run(export(file, base, _store(data_dir, store_url), settings.data))
        _say(
            console,
            f"{len(found.train)} samples, {len(found.held_out)} held out, refused: {dict(found.counts.refused)}",
        )


def _settings(
    config: Path | None, given: list[str] | None, base_name: str, more: dict[str, dict[str, str]]
) -> TrainSettings:
    transformers_logging.disable_progress_bar()
    return load_settings(config, given or (), {"data": {"base": base_name}, **more})


def _problems(files: list[Path] | None) -> list[Problem]:
    return [problem for file in files or () for problem in load(file)]


def _store(data_dir: Path | None, url: str | None) -> Path | str:
    return url or (data_dir or platformdirs.user_data_path("burnish")) / "trajectories.sqlite"


def _say(console: Console, text: str) -> None:
    if rank() == 0:
        console.print(text, markup=False, highlight=False)


def _train(console: Console, run: Run[E, C]) -> None:
    """Train to the end and print the checkpoint to publish."""
    with _stopping(console) as stop, _progress(console, run.steps) as tell:
        fitted = carry_out(run, tell=tell, stop=stop)
    if rank() == 0 and not fitted.finished:
        _say(console, f"Stopped after step {fitted.step}; the same command goes on.")
        raise typer.Exit(1)
    chosen = best(run)
    if rank() == 0 and chosen is not None:
        typer.echo(chosen.folder)


@contextmanager
def _failures(console: Console) -> Iterator[None]:
    """Exceptions with a message for whoever gave the command."""
    try:
        yield
    except BadSettings as error:
        console.print(str(error), markup=False, highlight=False)
        raise typer.Exit(2) from error
    except (TrainingError, StoreUnavailable, ProblemFileError) as error:
        console.print(str(error), markup=False, highlight=False)
        raise typer.Exit(1) from error


@contextmanager
def _stopping(console: Console) -> Iterator[Callable[[], bool]]:
    """Whether SIGINT or SIGTERM came: the step is finished and saved first; a second one ends the process at once."""
    stopped = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        if stopped:
            raise KeyboardInterrupt
        stopped = True
        console.print("Ending after this step; once more ends at once.")

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _progress(console: Console, steps: int) -> Iterator[Callable[[int, Line], None]]:
    """A bar in a terminal, else a line a step."""
    if not console.is_terminal:
        yield lambda step, line: console.print(f"step {step}/{steps} {_numbers(line)}", highlight=False)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), TextColumn("{task.fields[numbers]}"), console=console) as bar:
        task = bar.add_task("training", total=steps, numbers="")
        yield lambda step, line: bar.update(task, completed=step, numbers=_numbers(line))


def _numbers(line: Line) -> str:
    shown = [f"{name} {line[name]:.3g}" for name in _SHOWN if name in line]
    return ", ".join([*shown, *(["skipped"] if line["skipped"] else [])])
