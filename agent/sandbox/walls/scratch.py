"""Private folders for runs that have no file system of their own.

What lies in them was made by a submitted program: nothing is followed, no depth is assumed. Standard library only.
"""

from __future__ import annotations

import os
from pathlib import Path


def make(parent: str, owner: tuple[int, int] | None) -> str:
    """A new folder in `parent`, given to `owner` (user and group) if there is one. Raises OSError."""
    made = Path(parent) / f"burnish-run-{os.urandom(8).hex()}"
    made.mkdir(0o700)
    if owner is not None:
        os.chown(made, *owner)
    return str(made)


def clear(folder: str) -> None:
    """Remove `folder` and all in it, when no process is left that could write there. Raises OSError.

    Folders are emptied from the top: those inside are moved up first, so no path gets longer and nothing recurses.
    """
    top = Path(folder)
    top.chmod(0o700)
    while waiting := _folders_after_removing_files(top):
        for inner in waiting:
            inner.chmod(0o700)
            for below in _folders_after_removing_files(inner):
                below.chmod(0o700)
                below.rename(top / os.urandom(8).hex())
            inner.rmdir()
    top.rmdir()


def _folders_after_removing_files(folder: Path) -> list[Path]:
    found = []
    for entry in list(os.scandir(folder)):
        if entry.is_dir(follow_symlinks=False):
            found.append(Path(entry.path))
        else:
            Path(entry.path).unlink()
    return found
