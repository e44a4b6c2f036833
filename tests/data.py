"""Benchmark files that are not part of the project: a test that needs one skips with a reason where it is absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_FOLDER = Path(os.environ.get("BURNISH_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


def data_file(name: str) -> Path:
    """Path of a data file or folder; skips the test if there is none."""
    path = _FOLDER / name
    if not path.exists():
        pytest.skip(f"{path} is absent; set BURNISH_TEST_DATA to the folder with the benchmark files")
    return path
