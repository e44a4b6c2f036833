"""From a result of `burnish bench` to what docs/benchmarks.md shows.

    .venv/bin/python -m tests.bench.publish RESULT.json docs/results/NAME.json

writes the result without the programs (they repeat the benchmark's own text) and prints the table in Markdown. Base
comes first, the other modes in the order in which they were asked.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from server.bench.report import column, summary
from server.bench.rows import Row


def main(source: Path, target: Path) -> None:
    """Write `target`, print the table."""
    result = json.loads(source.read_text())
    rows = [Row(**row) for row in result["rows"]]
    modes = sorted(result["settings"]["modes"], key=lambda mode: mode != "base")
    result |= summary(rows, modes)
    result["rows"] = [{key: value for key, value in row.items() if key not in _DROPPED} for row in result["rows"]]
    target.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result, modes))


_DROPPED = ("code", "detail", "session", "at_seconds")


def table(result: dict[str, Any], modes: list[str]) -> str:
    """The figures of each mode, and the paired differences, as Markdown."""
    columns = {mode: column(result["modes"][mode]) for mode in modes}
    names = list(dict.fromkeys(name for column in columns.values() for name in column))
    lines = [f"| | {' | '.join(modes)} |", f"|---|{'---:|' * len(modes)}"]
    lines += [f"| {name.strip()} | {' | '.join(columns[mode].get(name, '') for mode in modes)} |" for name in names]
    for pair in result["paired"]:
        points = {key: f"{100 * value:+.1f}" for key, value in pair["difference"].items()}
        lines += [
            "",
            f"{pair['second']} - {pair['first']}: {points['estimate']} points [{points['low']}, {points['high']}], "
            f"{len(pair['gained'])} problems gained, {len(pair['lost'])} lost.",
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
