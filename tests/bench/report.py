"""How a benchmark prints its result: one heading with the machine and the date, one table in Markdown, or JSON."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

Row = Mapping[str, object]


def publish(command: str, rows: Sequence[Row], *, as_json: bool = False, notes: Sequence[str] = ()) -> None:
    """Print `rows`, which share their keys, under a heading."""
    if as_json:
        print(json.dumps({"command": command, "machine": machine(), "rows": rows, "notes": notes}, indent=1))
        return
    print(f"`{command}`: {machine()}\n")
    print(table(rows))
    for note in notes:
        print(f"\n{note}")


def machine() -> str:
    """Cores, memory, system, Python version, date, and how busy the machine was."""
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return (
        f"{os.cpu_count()} cores ({model.group(1) if model else platform.machine()}), {gigabytes:.0f} GB, "
        f"Linux {platform.release()}, Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}, "
        f"load average {os.getloadavg()[0]:.1f}"
    )


def table(rows: Sequence[Row]) -> str:
    """`rows` as Markdown; numbers to the right."""
    if not rows:
        return "(nothing)"
    columns = list(rows[0])
    right = [all(isinstance(row[column], int | float) for row in rows) for column in columns]
    lines = [_line(columns), _line(["---:" if number else "---" for number in right])]
    lines += [_line([_cell(row[column]) for column in columns]) for row in rows]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: object) -> str:
    text = f"{value:,.2f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
