"""What the trajectory store says of addresses that it cannot use; tests/test_records.py has what it keeps."""

from __future__ import annotations

import pytest

from memory.errors import StoreUnavailable
from memory.trajectories import SqlTrajectoryStore


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("sqlite+aiosqlite:///kept.sqlite", "aiosqlite is a driver for asyncio.*sqlite://"),
        ("oracle+nothing://somebody:hush@host/kept", "nothing.*name another one"),
        ("postgresql+pg8000://somebody:hush@host/kept", "pg8000.*install its driver"),
        ("somebody:hush@host", "no database URL.*sqlite:////"),
        ("sqlite:////nowhere/kept.sqlite", "unable to open"),
    ],
)
async def test_an_address_that_cannot_be_used(url: str, told: str) -> None:
    with pytest.raises(StoreUnavailable, match=told) as raised:
        await SqlTrajectoryStore.open(url)
    assert "hush" not in str(raised.value)
