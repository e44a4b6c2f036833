"""`python -m training`: collect, train, export, evaluate, publish. Each command explains itself with --help.

Exit status: 0 done; 1 it could not be done, or was told to stop (the same command goes on); 2 wrong settings.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import platformdirs
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers.utils import logging as transformers_logging

from agent.problems import ProblemFileError, load
from memory.errors import StoreUnavailable
from training import collect_command, evaluate, publish
from training.errors import BadSettings, TrainingError
from training.loop import Line
from training.policy import prepared
from training.ranks import group, rank
from training.run import best, carry_out
from training.settings import load as load_settings

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Learning from kept attempts.")
app.command("collect")(collect_command.command)
app.command("evaluate")(evaluate.command)
app.command("publish")(publish.command)

_SHOWN = ("loss", "held_out/loss", "tokens_per_second")


@app.command()
def policy(
    run: Annotated[Path, typer.Argument(help="Folder of the run; one that was begun goes on.")],
    base: Annotated[Path, typer.Option(exists=True, file_okay=False, help="Folder of the served base model.")],
    base_name: Annotated[str, typer.Option(help="The name it is served under: version 0 of the policy.")],
    algorithm: Annotated[str | None, typer.Option(help="sft, rft, coderl, rltf, stepcoder or grpo.")] = None,
    problems: Annotated[
        list[Path] | None, typer.Option(exists=True, help="Problem files whose reference solutions may be used.")
    ] = None,
    start: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Adapter folder to begin with.")
    ] = None,
    config: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Settings as TOML.")] = None,
    given: Annotated[list[str] | None, typer.Option("--set", help="One setting, e.g. lora.rank=8.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="The server's data directory.")] = None,
    store_url: Annotated[str | None, typer.Option(help="SQLAlchemy URL of the trajectory store.")] = None,
) -> None:
    """Train the policy on kept attempts. The adapter to publish is the checkpoint that is printed at the end."""
    console = Console(stderr=True)
    with _failures(console), group():
        transformers_logging.disable_progress_bar()
        more: dict[str, object] = {"data": {"base": base_name}}
        if algorithm is not None:
            more["algorithm"] = {"name": algorithm}
        settings = load_settings(config, given or (), more)
        store = store_url or (data_dir or platformdirs.user_data_path("burnish")) / "trajectories.sqlite"
        known = [problem for file in problems or () for problem in load(file)]
        made = asyncio.run(prepared(run, base, store, known, settings, start=start))
        if rank() == 0:
            console.print(f"{settings.algorithm.name}: {made.facts}", markup=False, highlight=False)
        with _stopping(console) as stop, _progress(console, made.run.steps) as tell:
            fitted = carry_out(made.run, tell=tell, stop=stop)
        if rank() == 0 and not fitted.finished:
            console.print(f"Stopped after step {fitted.step}; the same command goes on.")
            raise typer.Exit(1)
        chosen = best(made.run)
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


if __name__ == "__main__":
    app()
