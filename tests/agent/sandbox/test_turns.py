"""Who gets the next free worker."""

from __future__ import annotations

import asyncio

import pytest

from agent.sandbox.turns import Turns


async def test_owners_take_turns() -> None:
    turns: Turns[str] = Turns()
    served: list[str] = []

    async def use(owner: str) -> None:
        thing = await turns.take(owner)
        assert thing == "worker"
        served.append(owner)
        turns.give(thing)

    waiting = [asyncio.create_task(use(owner)) for owner in ["many"] * 5 + ["few"] * 2]
    await asyncio.sleep(0)
    turns.give("worker")
    await asyncio.gather(*waiting)
    assert served == ["many", "few", "many", "few", "many", "many", "many"]


async def test_cancelled_waiter_loses_nothing() -> None:
    turns: Turns[str] = Turns()
    first, second = (asyncio.create_task(turns.take("a")) for _ in range(2))
    await asyncio.sleep(0)
    turns.give("worker")
    first.cancel()
    assert await second == "worker"
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_closing_sends_away() -> None:
    turns: Turns[str] = Turns()
    waiting = asyncio.create_task(turns.take("a"))
    await asyncio.sleep(0)
    turns.close()
    assert await waiting is None
    assert await turns.take("a") is None
