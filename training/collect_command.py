"""`collect` on a command line: samples of one model version on a problem file."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from agent.errors import AgentError
from agent.policy import EnginePolicy
from agent.problems import load
from agent.sandbox.pool import WorkerPool
from agent.settings import SandboxSettings
from memory.errors import StoreUnavailable
from memory.records import Problem
from memory.trajectories import SqlTrajectoryStore
from training.collect import Collected, CollectSettings, collect, refuse_benchmarks
from training.console import standard_error
from training.curriculum_round import curriculum_round
from training.endpoint import connected, named
from training.errors import TrainingError
from training.places import store_of

_LINE_EVERY_S = 30.0


def command(
    file: Annotated[
        Path, typer.Argument(exists=True, help="JSON lines (HumanEval or LeetCode form, gzipped or not), or APPS.")
    ],
    url: Annotated[str, typer.Option(help="A vLLM engine, or a Burnish server over one.")] = "http://127.0.0.1:8000",
    model: Annotated[str | None, typer.Option(help="Model version as /v1/models lists it; the base model's.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where trajectories.sqlite lies.")] = None,
    store_url: Annotated[str | None, typer.Option(help="SQLAlchemy URL of the trajectory store instead.")] = None,
    samples: Annotated[int, typer.Option(min=0, help="Answers per problem besides the greedy one.")] = 8,
    temperature: Annotated[float, typer.Option(min=0.01, help="Of the samples; log-probabilities fit 1 only.")] = 1.0,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer.")] = 1024,
    seed: Annotated[int, typer.Option(min=0, help="Another one gives other samples.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N problems.")] = None,
    streams: Annotated[int, typer.Option(min=1, help="Answers made at the same time.")] = 32,
    loop: Annotated[bool, typer.Option("--loop", help="Run the refinement loop, for repair turns.")] = False,
    curriculum: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False, help="Give beginnings of the reference solutions, a round of the curriculum in this file."
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Sandbox workers; 0 is one per core.")] = 0,
    api_key: Annotated[str | None, typer.Option(envvar="BURNISH_API_KEY", help="Key of the server.")] = None,
) -> None:
    """Collect samples of one model version on a problem file, judged by the hidden tests.

    A run that was stopped goes on when the same command is given. Exit status: 0 everything is stored, 1 not.
    """
    try:
        settings = CollectSettings(
            samples=samples, temperature=temperature, max_tokens=max_tokens, seed=seed, streams=streams, loop=loop
        )
    except ValidationError as error:
        raise typer.BadParameter("; ".join(problem["msg"] for problem in error.errors())) from error
    if curriculum is not None and loop:
        raise typer.BadParameter("--loop asks for whole programs, --curriculum for the rest of them; give one of both")
    console = standard_error()
    where = store_of(data_dir, store_url)
    try:
        problems = load(file)[:limit]
        outcome = asyncio.run(
            _run(problems, url, model, settings, where, SandboxSettings(workers=workers), curriculum, api_key, console)
        )
    except (AgentError, TrainingError, StoreUnavailable) as error:
        console.print(f"{error}\nWhat is stored stays; the same command goes on from there.")
        raise typer.Exit(1) from error
    except asyncio.CancelledError:
        console.print("stopped; the same command goes on from what is stored")
        raise typer.Exit(1) from None
    console.print(json.dumps(asdict(outcome), indent=1))
    if outcome.done < outcome.total or outcome.refused:
        raise typer.Exit(1)


def main() -> None:
    """The command as a program of its own."""
    typer.run(command)


async def _run(
    problems: Sequence[Problem],
    url: str,
    model: str | None,
    settings: CollectSettings,
    where: Path | str,
    sandbox_settings: SandboxSettings,
    curriculum: Path | None,
    api_key: str | None,
    console: Console,
) -> Collected:
    refuse_benchmarks(problems)
    if isinstance(where, Path):
        where.parent.mkdir(parents=True, exist_ok=True)
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(connected(url, api_key))
        version = await named(http, model)
        store = await SqlTrajectoryStore.open(where)
        stack.push_async_callback(store.aclose)
        sandbox = await stack.enter_async_context(await WorkerPool.start(sandbox_settings))
        stack.enter_context(_interruptible(stop, console))
        tell = stack.enter_context(_shown(version, console))
        work = partial(curriculum_round, curriculum) if curriculum is not None else collect
        return await work(
            problems,
            version,
            settings,
            policy=EnginePolicy(http, lambda: True),
            sandbox=sandbox,
            store=store,
            stop=stop,
            tell=tell,
        )


@contextmanager
def _interruptible(stop: asyncio.Event, console: Console) -> Iterator[None]:
    """The first Ctrl-C lets the problems under way end, the second one ends at once."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def interrupted() -> None:
        if stop.is_set():
            task.cancel()
        console.print("stopping after the problems under way; once more ends at once")
        stop.set()

    loop.add_signal_handler(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)


@contextmanager
def _shown(version: str, console: Console) -> Iterator[Callable[[Collected], None]]:
    """A bar on a terminal, a line now and then elsewhere."""
    if not console.is_terminal:
        yield _lines(version, console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task(version)

        def tell(collected: Collected) -> None:
            progress.update(task, total=collected.total, completed=collected.done, description=_line(collected))

        yield tell


def _lines(version: str, console: Console) -> Callable[[Collected], None]:
    told = 0.0

    def tell(collected: Collected) -> None:
        nonlocal told
        if time.monotonic() - told >= _LINE_EVERY_S or collected.done == collected.total:
            told = time.monotonic()
            console.print(
                f"{version}: {collected.done} of {collected.total} problems, {_line(collected)}",
            )

    return tell


def _line(collected: Collected) -> str:
    share = f"{collected.passed / collected.attempts:.0%}" if collected.attempts else "none"
    return (
        f"{share} of {collected.attempts} attempts passed, {collected.solved} of {collected.stored} problems solved, "
        f"{collected.completion_tokens} tokens"
    )
