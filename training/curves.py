"""Learning curves of a run as a picture: `curves.png`, one panel a metric, held-out values beside those of training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from training import metrics

NAME = "curves.png"
_HELD_OUT = "held_out/"
_LEFT_OUT = {"step", "skipped", "sequences", "tokens", "wanted_tokens", "tokens_seen", "seconds"}
_COLUMNS = 3
_PANEL = (4.2, 2.6)
_EDGE = 0.4
"""Inches: a panel's width and height, and what is left free above and below them all."""
_SMOOTHED = 20
"""From this many steps on a mean over a tenth of them is drawn too."""


def draw(run: Path, title: str = "") -> Path | None:
    """The picture of a run folder's metrics; None where there are none yet."""
    lines = metrics.read(run / metrics.NAME)
    names = [name for name in _names(lines) if name not in _LEFT_OUT and not name.startswith(_HELD_OUT)]
    if not names:
        return None
    rows = math.ceil(len(names) / _COLUMNS)
    height = _PANEL[1] * rows
    figure = Figure(figsize=(_PANEL[0] * _COLUMNS, height))
    figure.subplots_adjust(0.05, _EDGE / height, 0.99, 1 - (2 * _EDGE if title else _EDGE) / height, 0.22, 0.55)
    FigureCanvasAgg(figure)
    if title:
        figure.suptitle(title)
    for at, name in enumerate(names):
        axes = figure.add_subplot(rows, _COLUMNS, at + 1)
        steps, values = _series(lines, name)
        smoothed = len(values) >= _SMOOTHED
        axes.plot(steps, values, linewidth=0.8, alpha=0.4 if smoothed else 1.0, color="C0")
        if smoothed:
            axes.plot(steps, _smooth(values, len(values) // 10), color="C0", label="training")
        held_steps, held = _series(lines, _HELD_OUT + name)
        if held:
            axes.plot(held_steps, held, color="C1", marker="o", markersize=3, label="held out")
            axes.legend(fontsize="small")
        axes.set_title(name, fontsize="medium")
        axes.set_xlabel("step", fontsize="small")
        axes.ticklabel_format(axis="y", scilimits=(-3, 4))
        axes.grid(alpha=0.3)
    file = run / NAME
    part = file.with_name(f".{NAME}.part")
    figure.savefig(part, format="png", dpi=110)
    part.replace(file)
    return file


def _names(lines: Sequence[dict[str, float]]) -> list[str]:
    return list(dict.fromkeys(name for line in lines for name in line))


def _series(lines: Sequence[dict[str, float]], name: str) -> tuple[list[float], list[float]]:
    found = [(line["step"], line[name]) for line in lines if name in line]
    return [step for step, _ in found], [value for _, value in found]


def _smooth(values: Sequence[float], width: int) -> list[float]:
    """Mean of the last `width` values, at each place."""
    return [sum(values[max(0, at - width + 1) : at + 1]) / min(at + 1, width) for at in range(len(values))]
