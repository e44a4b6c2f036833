"""Private folders are removed whatever was left in them."""

from __future__ import annotations

import os
from pathlib import Path

from agent.sandbox.walls import scratch


def test_what_a_program_may_leave(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    folder = Path(scratch.make(str(tmp_path), None))
    here = os.open(folder, os.O_RDONLY)
    (folder / "link").symlink_to(outside)
    (folder / "loop").symlink_to(folder)
    (folder / "closed").mkdir(mode=0)
    os.mkfifo(folder / "pipe")
    for _ in range(3000):
        os.mkdir("deep", dir_fd=here)
        below = os.open("deep", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    with open(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here), "w") as file:  # noqa: PTH123
        file.write("x")
    os.close(here)
    scratch.clear(str(folder))
    assert not folder.exists()
    assert (outside / "kept").read_text() == "x"
