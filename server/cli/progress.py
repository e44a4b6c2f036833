"""A model's progress on stderr: one moving bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, SpinnerColumn, TextColumn, TimeElapsedColumn, TransferSpeedColumn
from rich.progress import Progress as Bar

from server.engine.sources import Progress, Report

_LINE_EVERY_S = 10.0


@contextmanager
def shown(console: Console | None = None) -> Iterator[Report]:
    """A Report that shows what it is told until the context ends."""
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield _lines(console)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Bar(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def report(progress: Progress) -> None:
            if progress.stage == "note":
                _say(bar.console, progress.text)
                return
            known = progress.stage == "download" and progress.total > 0
            bar.update(
                task,
                description=progress.text,
                completed=progress.done if known else 0,
                total=progress.total if known else None,
            )

        yield report


def _lines(console: Console) -> Report:
    shown_stage, shown_at = "", 0.0

    def report(progress: Progress) -> None:
        nonlocal shown_stage, shown_at
        due = progress.stage != shown_stage or time.monotonic() - shown_at > _LINE_EVERY_S
        if progress.stage != "note" and not due:
            return
        size = f": {progress.done / 1e6:.0f} of {progress.total / 1e6:.0f} MB" if progress.total else ""
        _say(console, f"{progress.text}{size}")
        shown_stage, shown_at = progress.stage, time.monotonic()

    return report


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)
