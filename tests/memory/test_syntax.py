"""Python's parser for texts that may be anything."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from memory.syntax import parse


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads take turns after a microsecond."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("hasty")
def test_threads_leave_the_warning_filters_alone() -> None:
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as threads:
        trees = list(threads.map(parse, ["x = '\\d'\ny = x is 3\n"] * 8000))
    assert all(tree is not None for tree in trees)
    assert warnings.filters == before
