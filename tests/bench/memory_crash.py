"""What a store of experiences has after kill -9 at any moment.

    .venv/bin/python -m tests.bench.memory_crash [--kills 50] [--json]

A child process opens the store, adds, and prints the number of each experience whose `add` has returned; between, it
adds and withdraws others. It is killed at a random moment, the opening of the store included, and the next child goes
on in the same folder. Chroma is told to write its graphs after every 20 changes, so that many kills meet it writing.
After each kill the store is opened and counted; in the end every acknowledged experience is looked for, by `every` and
by `near`.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from memory.experience import Query, Selection
from memory.experience_store import DurableExperienceStore
from tests.bench.report import publish
from tests.fakes import HashingEmbedder
from tests.memory.adding_child import write_often
from tests.memory.experiences import solution


def killed(folder: Path, turn: int, seconds: float) -> list[int]:
    """What a child had acknowledged when it was killed after so long."""
    command = [sys.executable, "-m", "tests.memory.adding_child", str(folder), str(turn)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        time.sleep(seconds)
        child.send_signal(signal.SIGKILL)
        output, _ = child.communicate()
    return [int(line) for line in output.splitlines(keepends=True) if line.endswith("\n")]


async def kept(folder: Path) -> set[str]:
    """What the store has."""
    store = await DurableExperienceStore.open(folder, HashingEmbedder())
    ids = {experience.id async for experience in store.every(Selection())}
    await store.aclose()
    return ids


async def found(folder: Path, numbers: list[int]) -> int:
    """How many of these `near` finds first."""
    store = await DurableExperienceStore.open(folder, HashingEmbedder())
    await store.ready()
    count = 0
    for number in numbers:
        query = Query(tenant="local", kind="solution", text=solution(number).gist, words=(f"number_{number}",))
        hits = await store.near(query)
        count += bool(hits) and hits[0].experience.id == f"solution-{number}"
    await store.aclose()
    return count


def main() -> None:
    """Kill, open, count."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rng = random.Random(0)
    acknowledged: list[int] = []
    lost: set[str] = set()
    with tempfile.TemporaryDirectory(prefix="burnish-crash-") as name:
        folder = Path(name)
        for turn in range(given.kills):
            acknowledged += killed(folder, turn, rng.uniform(0.5, 6.0))
            write_often(folder)
            lost |= {f"solution-{number}" for number in acknowledged} - asyncio.run(kept(folder))
        hits = asyncio.run(found(folder, acknowledged))
    row = {"kills": given.kills, "acknowledged": len(acknowledged), "lost": len(lost), "found": hits}
    publish(f"memory_crash --kills {given.kills}", [row], as_json=given.json)


if __name__ == "__main__":
    main()
