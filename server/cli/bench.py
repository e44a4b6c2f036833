"""`burnish bench`: ask a running server, judge with hidden tests, say what was measured."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from agent.errors import IsolationUnavailable
from agent.problems import ProblemFileError, load
from agent.sandbox.contract import Sandbox
from agent.sandbox.pool import WorkerPool
from agent.settings import SandboxSettings
from memory.records import Problem
from server.bench.client import BenchClient, ServerError
from server.bench.ladder import LADDER
from server.bench.report import show
from server.bench.rows import MismatchError, Row, RowFile
from server.bench.run import BenchSettings, ModeError, choose, identity, measure, model_of, result
from server.cli.common import DEFAULT_URL, ApiKey, CommandError, Json, Url


def bench(
    file: Annotated[
        Path,
        typer.Argument(exists=True, help="JSON lines (HumanEval or LeetCode form, gzipped or not), or an APPS folder."),
    ],
    mode: Annotated[
        str, typer.Option(help="Comma-separated: base, refined, or a model the server lists, such as actor@3.")
    ] = "base,refined",
    ablate: Annotated[
        bool, typer.Option(help="The ladder instead of --mode: base, then each part of the loop switched on in turn.")
    ] = False,
    max_candidates: Annotated[
        int | None, typer.Option(min=1, help="Programs per refined answer; the server's own number if not given.")
    ] = None,
    memory: Annotated[
        bool, typer.Option(help="Let refined answers recall what the server remembers, and be remembered.")
    ] = False,
    without_examples: Annotated[
        bool, typer.Option(help="Take the examples out of the statements (HumanEval form) before asking.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Ask only N problems: the first N, or with --seed N in shuffled order.")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Seed of the requests (plus the problem's index; 0 if not given); if given, shuffles the problems too."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            help="Write the result here; rows are kept in RESULT.json.partial until the run is complete.",
        ),
    ] = None,
    url: Url = DEFAULT_URL,
    concurrency: Annotated[int, typer.Option(min=1, help="Problems asked at the same time.")] = 8,
    deadline: Annotated[
        float, typer.Option(min=1.0, help="Seconds the server may spend on one refined answer.")
    ] = 600.0,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Measure a running server: pass@1 with hidden tests, tokens, seconds, and the difference between the modes.

    The hidden tests stay in this process. A run that was stopped goes on when the same --out is given.
    Exit status: 0 all measured, 1 something could not be measured, 2 bad usage.
    """
    named = tuple(dict.fromkeys(name.strip() for name in mode.split(",") if name.strip()))
    modes = ("base", *LADDER) if ablate else named
    if not modes:
        raise typer.BadParameter("names no mode", param_hint="--mode")
    settings = BenchSettings(
        file=str(file),
        modes=modes,
        limit=limit,
        seed=seed,
        url=url,
        concurrency=concurrency,
        deadline_s=deadline,
        max_candidates=max_candidates,
        memory=memory,
        without_examples=without_examples,
    )
    try:
        outcome = asyncio.run(run(settings, load(file), out, api_key=api_key, start_sandbox=start_pool))
    except (ProblemFileError, MismatchError, ModeError) as error:
        raise CommandError(str(error), status=2) from error
    except (ServerError, IsolationUnavailable, OSError) as error:
        raise CommandError(str(error)) from error
    except KeyboardInterrupt:
        kept = f"; run again with --out {out} to go on" if out else ""
        raise CommandError(f"stopped{kept}") from None
    if as_json:
        print(json.dumps(outcome, indent=1))
    else:
        show(outcome, Console(width=None if sys.stdout.isatty() else 120))
    if _failures(outcome):
        raise typer.Exit(1)


async def start_pool() -> Sandbox:
    """The sandbox that judges. Raises IsolationUnavailable."""
    return await WorkerPool.start(SandboxSettings())


async def run(
    settings: BenchSettings,
    problems: Sequence[Problem],
    out: Path | None,
    *,
    api_key: str | None,
    start_sandbox: Callable[[], Awaitable[Sandbox]],
) -> dict[str, Any]:
    """The result of a run, new or taken up again; also written to `out`, if given.

    Raises ServerError or IsolationUnavailable if nothing can be measured, ModeError, MismatchError or ProblemFileError
    if this was not a sensible thing to ask for.
    """
    tasks = choose(problems, settings.limit, settings.seed)
    if not tasks:
        raise ProblemFileError(Path(settings.file), None, "no problem in it has tests to judge with")
    async with BenchClient(
        settings.url, api_key=api_key, timeout_s=settings.deadline_s, concurrency=settings.concurrency
    ) as client:
        listed = await client.models()
        models = {mode: model_of(mode, [str(entry["id"]) for entry in listed]) for mode in settings.modes}
        kept = RowFile(_partial(out), identity(settings, problems, models))
        with closing(kept):
            async with aclosing(await start_sandbox()) as sandbox:
                for mode, model in models.items():
                    done = {row.task_id for row in kept.rows if row.mode == mode and row.error is None}
                    missing = [task for task in tasks if task.problem.id not in done]
                    with Ticker(mode, len(tasks), len(tasks) - len(missing)) as ticker:

                        def keep(row: Row, ticker: Ticker = ticker) -> None:
                            kept.append(row)
                            ticker.tick(row)

                        await measure(
                            mode, model, missing, client=client, sandbox=sandbox, settings=settings, keep=keep
                        )
                tier = sandbox.isolation.tier
        outcome = result(
            settings,
            tasks,
            kept.rows,
            server={"models": listed, "version": await client.version(), "asked": models},
            sandbox_tier=tier,
            skipped=[problem.id for problem in problems if not problem.hidden],
        )
    if out:
        _write(out, outcome)
        if not _failures(outcome):
            kept.remove()
    return outcome


def _partial(out: Path | None) -> Path | None:
    return out.with_name(f"{out.name}.partial") if out else None


def _write(out: Path, outcome: dict[str, Any]) -> None:
    """Replace `out` in one step, so that a crash leaves the old result or the new one."""
    new = out.with_name(f"{out.name}.new")
    new.write_text(json.dumps(outcome, indent=1) + "\n")
    new.replace(out)


def _failures(outcome: dict[str, Any]) -> int:
    return sum(len(figures["failures"]) for figures in outcome["modes"].values())


@dataclass(slots=True)
class _Bar:
    progress: Progress
    task: TaskID


class Ticker:
    """Progress on standard error: a bar on a terminal, one line per problem elsewhere."""

    def __init__(self, mode: str, total: int, done: int) -> None:
        self._mode, self._total, self._done, self._passed = mode, total, done, 0
        self._bar: _Bar | None = None

    def __enter__(self) -> Ticker:
        if sys.stderr.isatty():
            progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=Console(stderr=True),
            )
            self._bar = _Bar(progress, progress.add_task(self._mode, total=self._total, completed=self._done))
            progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.progress.stop()

    def tick(self, row: Row) -> None:
        """One more row."""
        self._done += 1
        self._passed += row.passed
        if self._bar:
            self._bar.progress.update(
                self._bar.task, completed=self._done, description=f"{self._mode} ({self._passed} passed)"
            )
            return
        state = f"not measured: {row.error}" if row.error is not None else row.outcome
        claim = f" (server: {row.verdict})" if row.verdict else ""
        print(f"{self._mode} {self._done}/{self._total} {row.task_id} {state}{claim}", file=sys.stderr, flush=True)
