"""Adds experiences until it is killed, and prints the number of each that was acknowledged.

python -m tests.memory.adding_child FOLDER TURN
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import cast

import chromadb
from chromadb.api.client import Client
from chromadb.config import Settings

from memory.experience import Selection
from memory.experience_store import DurableExperienceStore
from tests.fakes import HashingEmbedder
from tests.memory.experiences import solution

_TURN = 1_000_000
"""Numbers of one turn."""


async def add_for_ever(folder: Path, turn: int) -> None:
    """Add one, then three, then one; now and then a batch; withdraw some that were not printed."""
    store = await DurableExperienceStore.open(folder, HashingEmbedder())
    number = turn * _TURN
    while True:
        count = 40 if number % 10 == 0 else 1 + 2 * (number % 2)
        await store.add([solution(place) for place in range(number, number + count)])
        for place in range(number, number + count):
            print(place, flush=True)
        number += count
        doomed = solution(f"doomed_{number}")
        await store.add([doomed])
        await store.withdraw(Selection(trajectory_id=doomed.trajectory_id, tenant=doomed.tenant))


def write_often(folder: Path) -> None:
    """Let the next child's Chroma write its graphs after every few changes, so that kills meet it writing."""
    client = chromadb.PersistentClient(path=folder / "chroma", settings=Settings(anonymized_telemetry=False))
    for collection in client.list_collections():
        collection.modify(configuration={"hnsw": {"sync_threshold": 20}})
    cast(Client, client).close()


if __name__ == "__main__":
    asyncio.run(add_for_ever(Path(sys.argv[1]), int(sys.argv[2])))
