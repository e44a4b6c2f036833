"""The commands that train: until the last step, or until Ctrl-C, after which the same command goes on."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from training import critic_run, policy
from training.console import standard_error
from training.loop import Line
from training.options import (
    Base,
    BaseName,
    Config,
    DataDir,
    Given,
    RunFolder,
    Start,
    StoreUrl,
    failures,
    problems_of,
    say,
    settings_of,
)
from training.places import store_of
from training.ranks import group, rank
from training.run import Run, best, carry_out

E = TypeVar("E")
C = TypeVar("C")

_SHOWN = ("loss", "held_out/loss", "tokens_per_second")


def policy_command(
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
    console = standard_error()
    with failures(console), group():
        more = {"algorithm": {"name": algorithm}} if algorithm is not None else {}
        settings = settings_of(config, given, base_name, more)
        known = problems_of(problems)
        store = store_of(data_dir, store_url)
        made = asyncio.run(policy.prepared(run, base, store, known, settings, start=start, critic=critic))
        say(console, f"{settings.algorithm.name}: {made.facts}")
        _train(console, made.run)


def critic_command(
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
    console = standard_error()
    with failures(console), group():
        settings = settings_of(config, given, base_name, {})
        problems = problems_of(unseen)
        made = asyncio.run(
            critic_run.prepared(run, base, store_of(data_dir, store_url), problems, settings, start=start)
        )
        say(console, f"critic: {made.facts}")
        _train(console, made.run)
        if rank() == 0 and made.unseen:
            for name, told in critic_run.measured(made).items():
                say(console, f"{name}: { {key: told[key] for key in told if key != 'families'} }")


def _train(console: Console, run: Run[E, C]) -> None:
    """Train to the end and print the checkpoint to publish."""
    with _stopping(console) as stop, _progress(console, run.steps) as tell:
        fitted = carry_out(run, tell=tell, stop=stop)
    if rank() == 0 and not fitted.finished:
        say(console, f"Stopped after step {fitted.step}; the same command goes on.")
        raise typer.Exit(1)
    chosen = best(run)
    if rank() == 0 and chosen is not None:
        typer.echo(chosen.folder)


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
        yield lambda step, line: console.print(f"step {step}/{steps} {_numbers(line)}")
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), TextColumn("{task.fields[numbers]}"), console=console) as bar:
        task = bar.add_task("training", total=steps, numbers="")
        yield lambda step, line: bar.update(task, completed=step, numbers=_numbers(line))


def _numbers(line: Line) -> str:
    shown = [f"{name} {line[name]:.3g}" for name in _SHOWN if name in line]
    return ", ".join([*shown, *(["skipped"] if line["skipped"] else [])])
