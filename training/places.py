"""Where the commands find what is kept, if they are not told otherwise."""

from __future__ import annotations

from pathlib import Path

import platformdirs


def data_dir_of(given: Path | None) -> Path:
    """The server's data directory."""
    return given or platformdirs.user_data_path("burnish")


def store_of(data_dir: Path | None, url: str | None) -> Path | str:
    """Location of the trajectory store."""
    return url or data_dir_of(data_dir) / "trajectories.sqlite"
