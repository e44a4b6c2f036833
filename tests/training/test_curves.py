"""The picture of a run's metrics."""

from __future__ import annotations

import struct
from pathlib import Path

from training import curves
from training.metrics import NAME, Metrics, read


def size(file: Path) -> tuple[int, int]:
    """Width and height of a PNG."""
    data = file.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    return int(width), int(height)


def test_each_metric_has_a_panel(tmp_path: Path) -> None:
    lines = Metrics(tmp_path)
    for step in range(1, 31):
        held_out = {"held_out/loss": 2.0 / step} if step % 10 == 0 else {}
        lines.add(step, {"loss": 1.0 / step, "skipped": 0.0, **held_out})
    one = size(curves.draw(tmp_path, "a run") or tmp_path)
    for step in range(31, 33):
        lines.add(step, {"loss": 1.0, "pg": 0.5, "ce": 0.5, "kl": float("nan"), "grad_norm": 1.0})
    more = size(curves.draw(tmp_path) or tmp_path)
    assert more[0] == one[0] and more[1] > one[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.png", NAME]


def test_without_metrics_there_is_no_picture(tmp_path: Path) -> None:
    assert curves.draw(tmp_path) is None
    assert not list(tmp_path.iterdir())


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    lines = Metrics(tmp_path)
    for step in (1, 2, 3):
        lines.add(step, {"loss": float("inf") if step == 2 else 0.5})
    with (tmp_path / NAME).open("a") as out:
        out.write('{"step": 4, "lo')
    assert read(tmp_path / NAME) == [{"step": 1, "loss": 0.5}, {"step": 2}, {"step": 3, "loss": 0.5}]
    lines.rewind(2)
    assert read(tmp_path / NAME) == [{"step": 1, "loss": 0.5}, {"step": 2}]
    lines.add(3, {"loss": 0.25})
    assert read(tmp_path / NAME)[-1] == {"step": 3, "loss": 0.25}
