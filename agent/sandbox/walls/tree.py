"""The read-only tree that programs of tier A see. Standard library only: runs as the template."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from agent.sandbox.walls import kernel
from agent.sandbox.walls.identity import Impossible

_MOUNT_POINT = "/tmp"
SYSTEM = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo")
"""What programs may read beside the interpreter."""
DEVICES = ("null", "zero", "full", "random", "urandom")


def build(programs: Sequence[str], packages: Sequence[str]) -> list[str]:
    """Replace this process's file system; where the folders of installed packages stand now is returned."""
    hidden = [path for path in programs if Path(path).is_relative_to(_MOUNT_POINT)]
    if hidden:
        raise Impossible(f"interpreter: {hidden[0]} lies in {_MOUNT_POINT}, which every program gets for itself")
    try:
        kernel.mount("none", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
        sources = [Path(path) for path in dict.fromkeys((*SYSTEM, *programs)) if Path(path).exists()]
        places = [(str(path), str(path)) for path in _outermost(sources)]
        shown = [f"/packages/{number}" for number in range(len(packages))]
        places += zip(packages, shown, strict=True)
        opened = [(place, os.open(path, os.O_PATH | os.O_CLOEXEC)) for path, place in places]
        devices = [(f"/dev/{name}", os.open(f"/dev/{name}", os.O_PATH | os.O_CLOEXEC)) for name in DEVICES]
        with contextlib.ExitStack() as stack:
            for _, fd in (*opened, *devices):
                stack.callback(os.close, fd)
            kernel.mount("tmpfs", _MOUNT_POINT, "tmpfs", kernel.MS_NOSUID, "mode=0755,size=1m")
            for place, fd in opened:
                _bind(fd, _MOUNT_POINT + place, kernel.ATTR_READ_ONLY | kernel.ATTR_NOSUID | kernel.ATTR_NODEV)
            for name, fd in devices:
                _bind(fd, _MOUNT_POINT + name, kernel.ATTR_NOSUID)
        (Path(_MOUNT_POINT) / "dev/shm").symlink_to("/tmp")
        (Path(_MOUNT_POINT) / "tmp").mkdir(mode=0o755)
        kernel.pivot_root(_MOUNT_POINT)
        kernel.restrict_mount("/", kernel.ATTR_READ_ONLY | kernel.ATTR_NOSUID, recursive=False)
    except OSError as error:
        raise Impossible(f"mounts ({error}): allow mount and pivot_root in the namespace") from None
    return shown


def _outermost(paths: list[Path]) -> list[Path]:
    """`paths` without those that lie inside another."""
    return [path for path in paths if not any(other != path and path.is_relative_to(other) for other in paths)]


def _bind(source: int, target: str, attributes: int) -> None:
    place = Path(target)
    missing = [parent for parent in place.parents if not parent.exists()]
    for parent in reversed(missing):
        parent.mkdir(mode=0o755)
        parent.chmod(0o755)
    if stat.S_ISDIR(os.fstat(source).st_mode):
        place.mkdir(mode=0o755)
    else:
        place.touch()
    kernel.mount(f"/proc/self/fd/{source}", target, "", kernel.MS_BIND | kernel.MS_REC)
    kernel.restrict_mount(target, attributes, recursive=True)
