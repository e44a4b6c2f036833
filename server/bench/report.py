"""What the rows of a run add up to, as data and as tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from itertools import combinations
from statistics import fmean, median
from typing import Any

from rich.console import Console
from rich.table import Table

from agent.statistics import Interval, paired_difference, pass_at_1
from server.bench.rows import Row


def summary(rows: Sequence[Row], modes: Sequence[str]) -> dict[str, Any]:
    """`modes`: figures of each mode; `paired`: each later mode against each earlier one, over problems both judged.

    Rows with an `error` of ours are counted as such and left out of everything else.
    """
    by_mode = {mode: [row for row in rows if row.mode == mode] for mode in modes}
    return {
        "modes": {mode: _figures(of_mode) for mode, of_mode in by_mode.items()},
        "paired": [_paired(first, second, by_mode) for first, second in combinations(modes, 2)],
    }


def _figures(rows: Sequence[Row]) -> dict[str, Any]:
    judged = [row for row in rows if row.error is None]
    passed = sum(row.passed for row in judged)
    figures: dict[str, Any] = {
        "problems": len(judged),
        "failures": [{"task_id": row.task_id, "error": row.error} for row in rows if row.error is not None],
        "passed": passed,
        "pass_at_1": asdict(pass_at_1(passed, len(judged))),
        "outcomes": dict(Counter(row.outcome for row in judged)),
        "tokens": {
            "completion": _total_and_mean([row.completion_tokens for row in judged]),
            "prompt": _total_and_mean([row.prompt_tokens for row in judged]),
        },
        "seconds": {
            "mean": _mean([row.request_seconds for row in judged]),
            "median": median([row.request_seconds for row in judged] or [0.0]),
            "wall": _wall(rows),
        },
    }
    claimed = [row for row in judged if row.verdict is not None]
    if claimed:
        figures["refinement"] = _refinement(claimed)
    return figures


def _wall(rows: Sequence[Row]) -> float:
    """Wall time over all sessions of a run that was stopped and taken up again."""
    sessions: dict[float, float] = {}
    for row in rows:
        sessions[row.session] = max(sessions.get(row.session, 0.0), row.at_seconds)
    return sum(sessions.values())


def _refinement(rows: Sequence[Row]) -> dict[str, Any]:
    """What the server claimed about its answers, against what the hidden tests say."""
    verdicts: dict[str, dict[str, int]] = {}
    for row in rows:
        by_source = verdicts.setdefault(row.verdict or "", {})
        source = str(row.tests.get("source", "none"))
        by_source[source] = by_source.get(source, 0) + 1
    claims = Counter((row.verdict == "passed", row.passed) for row in rows)
    timed = [row.seconds for row in rows if row.seconds.get("total")]
    total = median([seconds["total"] for seconds in timed] or [0.0])
    return {
        "verdicts": verdicts,
        "agreement": {
            "verified_right": claims[True, True],
            "verified_wrong": claims[True, False],
            "unverified_right": claims[False, True],
            "unverified_wrong": claims[False, False],
            "share": (claims[True, True] + claims[False, False]) / len(rows),
        },
        "overhead_share": median([seconds.get("overhead", 0.0) for seconds in timed]) / total if total else None,
        "candidates_mean": _mean([row.candidates for row in rows]),
        "rounds_mean": _mean([row.rounds for row in rows]),
    }


def _paired(first: str, second: str, by_mode: dict[str, list[Row]]) -> dict[str, Any]:
    old = {row.task_id: row.passed for row in by_mode[first] if row.error is None}
    new = {row.task_id: row.passed for row in by_mode[second] if row.error is None}
    common = [task_id for task_id in old if task_id in new]
    interval = paired_difference([old[key] for key in common], [new[key] for key in common]) if common else None
    return {
        "first": first,
        "second": second,
        "problems": len(common),
        "difference": asdict(interval) if interval else None,
        "gained": [key for key in common if new[key] and not old[key]],
        "lost": [key for key in common if old[key] and not new[key]],
    }


def _mean(values: Sequence[float]) -> float:
    return fmean(values) if values else 0.0


def _total_and_mean(values: Sequence[int]) -> dict[str, float]:
    return {"total": sum(values), "mean": _mean(values)}


def show(result: dict[str, Any], console: Console) -> None:
    """Print the tables of a result."""
    modes = result["modes"]
    columns = {mode: column(figures) for mode, figures in modes.items()}
    table = Table(title=f"{result['settings']['file']}: {len(modes)} mode{'s' if len(modes) > 1 else ''}")
    table.add_column("")
    for mode in modes:
        table.add_column(mode, justify="right")
    names = list(dict.fromkeys(name for column in columns.values() for name in column))
    for name in names:
        table.add_row(name, *(column.get(name, "") for column in columns.values()))
    console.print(table)
    for pair in result["paired"]:
        _show_pair(pair, console)
    for mode, figures in modes.items():
        for failure in figures["failures"]:
            _line(console, f"{mode}: {failure['task_id']} not measured: {failure['error']}")
    if result["without_tests"]:
        _line(console, f"without hidden tests, not asked: {', '.join(result['without_tests'])}")


def column(figures: dict[str, Any]) -> dict[str, str]:
    """One mode's figures as a person reads them, by the name of the row."""
    tokens, seconds = figures["tokens"], figures["seconds"]
    cells = {
        "problems judged": str(figures["problems"]),
        "not measured (our failure)": str(len(figures["failures"])),
        "passed": str(figures["passed"]),
        "pass@1, 95 % interval": _percent(Interval(**figures["pass_at_1"])),
        "completion tokens": f"{tokens['completion']['total']:,}",
        "  per problem": f"{tokens['completion']['mean']:,.0f}",
        "prompt tokens": f"{tokens['prompt']['total']:,}",
        "  per problem ": f"{tokens['prompt']['mean']:,.0f}",
        "seconds per request, mean": f"{seconds['mean']:.2f}",
        "  median": f"{seconds['median']:.2f}",
        "wall seconds": f"{seconds['wall']:.1f}",
    }
    refinement = figures.get("refinement")
    if refinement:
        for verdict, sources in sorted(refinement["verdicts"].items()):
            for source, count in sorted(sources.items()):
                cells[f"verdict {verdict}, tests from {source}"] = str(count)
        agreement, overhead = refinement["agreement"], refinement["overhead_share"]
        cells |= {
            "verified and right / wrong": f"{agreement['verified_right']} / {agreement['verified_wrong']}",
            "not verified, right / wrong": f"{agreement['unverified_right']} / {agreement['unverified_wrong']}",
            "verdict agrees with hidden tests": f"{agreement['share']:.1%}",
            "overhead share": "" if overhead is None else f"{overhead:.1%}",
            "candidates per problem": f"{refinement['candidates_mean']:.2f}",
            "rounds per problem": f"{refinement['rounds_mean']:.2f}",
        }
    return cells


def _show_pair(pair: dict[str, Any], console: Console) -> None:
    if not pair["difference"]:
        _line(console, f"{pair['second']} - {pair['first']}: no problem was judged in both modes")
        return
    difference = _percent(Interval(**pair["difference"]), signed=True)
    _line(console, f"{pair['second']} - {pair['first']}: {difference} over {pair['problems']} problems")
    for name in ("gained", "lost"):
        if pair[name]:
            _line(console, f"  {name} {len(pair[name])}: {', '.join(pair[name])}")


def _percent(interval: Interval, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    points = f"{100 * interval.estimate:{sign}.1f}"
    limits = f"[{100 * interval.low:{sign}.1f}, {100 * interval.high:{sign}.1f}]"
    return f"{points} points {limits}" if signed else f"{points} % {limits}"


def _line(console: Console, text: str) -> None:
    """Whole, however long: names of problems are copied out of it."""
    console.print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)
