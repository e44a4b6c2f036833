"""This process and everything below it, as /proc shows them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def below(pid: int) -> list[int]:
    """Live descendants of `pid`, parents first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))) and fields[0] not in "ZX":
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for current in found:
        found += sorted(children.get(current, []))
    return found[1:]


def children(pid: int) -> list[int]:
    """Live children of `pid`."""
    return [child for child in below(pid) if (fields := _stat(child)) and int(fields[1]) == pid]


def tree_cpu() -> float:
    """CPU seconds, user and system, of this process and all that it ever started and that has been waited for or
    still runs. Exact to about 0.02 s for each process that runs."""
    ticks = 0
    for pid in (os.getpid(), *below(os.getpid())):
        fields = _stat(pid)
        ticks += sum(map(int, fields[11:15]))
    return ticks / _TICKS


def resident_mb(pids: Iterable[int]) -> float:
    """Resident memory of `pids` together."""
    page = os.sysconf("SC_PAGE_SIZE")
    return _total(pids, lambda folder: int((folder / "statm").read_text().split()[1]) * page) / (1 << 20)


def descriptors(pids: Iterable[int]) -> int:
    """Open file descriptors of `pids` together."""
    return int(_total(pids, lambda folder: len(list((folder / "fd").iterdir()))))


def mounts(pids: Iterable[int]) -> int:
    """Mounts that `pids` see, added up."""
    return int(_total(pids, lambda folder: len((folder / "mountinfo").read_text().splitlines())))


def _total(pids: Iterable[int], of: Callable[[Path], float]) -> float:
    total = 0.0
    for pid in pids:
        try:
            total += of(Path(f"/proc/{pid}"))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on; none if the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
