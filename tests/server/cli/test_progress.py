"""Progress off a terminal is lines, not more than one every few seconds per stage; notes are never dropped."""

from __future__ import annotations

import io

from rich.console import Console

from server.cli.progress import shown
from server.engine.sources import Progress


def test_lines_where_there_is_no_terminal() -> None:
    out = io.StringIO()
    with shown(Console(file=out, width=200)) as report:
        for done in range(0, 100_000_001, 20_000_000):
            report(Progress("download", "weights", done, 100_000_000))
        report(Progress("note", "a note"))
        report(Progress("convert", "converting"))
    assert out.getvalue().splitlines() == ["weights: 0 of 100 MB", "a note", "converting"]


def test_a_bar_on_a_terminal() -> None:
    out = io.StringIO()
    note = "a note that is not broken, " * 10
    with shown(Console(file=out, width=120, force_terminal=True)) as report:
        report(Progress("download", "weights", 50_000_000, 100_000_000))
        report(Progress("convert", "converting"))
        report(Progress("note", note))
    assert note in out.getvalue() and "converting" in out.getvalue()
