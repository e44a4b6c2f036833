"""How tensors get their memory on a CPU.

The C library keeps what large tensors leave behind, and as micro-batches differ in size, little of it fits the next
one: a run's memory doubles within some steps. Here large blocks go back to the system at once, and come in pages of
two megabytes, which cost little to get again (`python -m tests.bench.trainer_speed`).
"""

from __future__ import annotations

import ctypes
import os

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Names of glibc's mallopt(3)."""
_LARGE_BYTES = 1 << 20
_KEPT_BYTES = 1 << 24


def give_back() -> None:
    """For the rest of this process; before torch is imported. Does nothing where the C library is not glibc."""
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch reads it once
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
    mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
