"""The long-term memory as it grows: recall, query time, write rate, memory, disk, start-up.

    .venv/bin/python -m tests.bench.memory_scale --sizes 10000 100000 [--out docs/results/memory-scale.json] [--json]

For each size a store of one tenant is filled through `add`, 500 experiences at a time, and opened again in a fresh
process, which measures. Vectors are given, no model runs. They are synthetic, 384-dimensional: a centre for every 50
experiences and noise around it, both with the spectrum that all-MiniLM-L6-v2 gives 5,000 first paragraphs of docstrings
(of sympy, networkx, torch and the standard library); a vector's cosine with others of its centre is about 0.6, queries
are fresh draws from the same distribution. Texts are twelve words with Zipf's frequencies.

- recall@5: share of the five nearest by exact search that `near` finds, without words
- query p50, p99: wall time of `near` with three words of the vocabulary and five hits wanted, one after the other; CPU:
  the 99th percentile of this process's CPU time for one query, which other processes hardly change
- write rate: of filling; one add: median of adding a single experience to the full store
- memory: resident size of the measuring process after its queries, and before it opened the store
- start-up: `open`, until everything can be found and the graphs are read

`--out` keeps the rows of sizes that were measured before, and draws the growth beside the file, as SVG.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from memory.embed import Vector
from memory.experience import Query
from memory.experience_store import DurableExperienceStore
from memory.records import Experience, TestSource
from tests.bench.processes import resident_mb
from tests.bench.report import Row, machine, publish

_DIMENSIONS = 384
_BATCH = 500
_QUERIES = 2_000
_RECALL_QUERIES = 500
_SINGLE_ADDS = 50
_VOCABULARY = 50_000
_COLUMNS = (("query p99, ms", "query p99 [ms]"), ("memory, MB", "memory [MB]"), ("disk, MB", "disk [MB]"))

Table = npt.NDArray[np.float32]


@dataclass
class GivenVectors:
    """An embedder for texts that begin with the number of their vector, modulo the number of vectors."""

    table: Table
    name: str = "given"
    dimensions: int = _DIMENSIONS

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """See Embedder.embed."""
        return [self.table[int(text.partition(" ")[0]) % len(self.table)] for text in texts]

    async def aclose(self) -> None:
        """Nothing to let go of."""


def draw(size: int, queries: int) -> tuple[Table, Table]:
    """Stored vectors and queries, rows of length 1."""
    rng = np.random.default_rng(size)
    place = np.arange(_DIMENSIONS)
    spread = np.sqrt((1 + place / 4) ** -0.7 * np.exp(-place / 250)).astype(np.float32)
    centres = (rng.normal(size=(max(20, size // 50), _DIMENSIONS)) * spread * 0.6**0.5).astype(np.float32)

    def some(count: int) -> Table:
        made = np.empty((count, _DIMENSIONS), dtype=np.float32)
        for start in range(0, count, 10_000):
            part = made[start : start + 10_000]
            part[:] = (
                rng.normal(size=part.shape) * spread * 0.4**0.5 + centres[rng.integers(0, len(centres), len(part))]
            )
            part /= np.linalg.norm(part, axis=1, keepdims=True)
        return made

    return some(size), some(queries)


def exact(table: Table, queries: Table, count: int) -> list[list[int]]:
    """Places of the nearest rows of each query."""
    best: list[list[tuple[float, int]]] = [[] for _ in queries]
    for start in range(0, len(table), 50_000):
        cosines = queries @ table[start : start + 50_000].T
        places = np.argpartition(-cosines, count, axis=1)[:, :count]
        for hits, row, scores in zip(best, places, cosines, strict=True):
            hits += [(float(scores[place]), start + int(place)) for place in row]
    return [[place for _, place in sorted(hits, reverse=True)[:count]] for hits in best]


def words(rng: np.random.Generator, count: int) -> str:
    """Words of the vocabulary, frequent ones often."""
    return " ".join(f"word{min(int(number), _VOCABULARY)}" for number in rng.zipf(1.2, size=count))


def experience(number: int, text: str) -> Experience:
    """One solution; its text names its vector."""
    return Experience(
        id=str(number),
        kind="solution",
        tenant="bench",
        problem=f"problem {number}",
        gist=f"{number} {text}",
        code=f"def solve_{number}(values):\n    total = {number}\n    for value in values:\n        total += value\n"
        "    return total\n",
        source=TestSource.REQUEST,
        passed=3,
        total=3,
        signature=f"def solve_{number}(values):",
        trajectory_id=f"trajectory {number}",
        created=float(number),
    )


async def fill(folder: Path) -> dict[str, float]:
    """Fill a store with all vectors; experiences per second."""
    table = np.load(folder / "table.npy", mmap_mode="r")
    rng = np.random.default_rng(1)
    store = await DurableExperienceStore.open(folder / "store", GivenVectors(table), most=10 * len(table))
    begun = time.perf_counter()
    for start in range(0, len(table), _BATCH):
        end = min(start + _BATCH, len(table))
        await store.add([experience(number, words(rng, 12)) for number in range(start, end)])
    seconds = time.perf_counter() - begun
    await store.aclose()
    return {"rate": len(table) / seconds}


async def measure(folder: Path) -> dict[str, float]:
    """Open the full store and ask it."""
    queries = np.load(folder / "queries.npy")
    truth = json.loads((folder / "truth.json").read_text())
    before = resident_mb([os.getpid()])
    begun = time.perf_counter()
    store = await DurableExperienceStore.open(folder / "store", GivenVectors(queries), floor=-1.0, most=10**9)
    await store.ready()
    start_up = time.perf_counter() - begun
    stats = await store.stats()
    found = 0
    for number, nearest in enumerate(truth):
        hits = await store.near(Query(tenant="bench", kind="solution", text=str(number), limit=5))
        found += len({int(hit.experience.id) for hit in hits} & set(nearest))
    rng = np.random.default_rng(2)
    times, busy = [], []
    for number in range(_QUERIES):
        query = Query(
            tenant="bench",
            kind="solution",
            text=str(number % len(queries)),
            words=tuple(words(rng, 3).split()),
            limit=5,
        )
        begun, used = time.perf_counter(), time.process_time()
        await store.near(query)
        times.append(time.perf_counter() - begun)
        busy.append(time.process_time() - used)
    resident = resident_mb([os.getpid()])
    adds = []
    for number in range(_SINGLE_ADDS):
        begun = time.perf_counter()
        await store.add([experience(10**9 + number, words(rng, 12))])
        adds.append(time.perf_counter() - begun)
    await store.aclose()
    return {
        "recall": found / (5 * len(truth)),
        "p50": float(np.percentile(times, 50)) * 1000,
        "p99": float(np.percentile(times, 99)) * 1000,
        "cpu": float(np.percentile(busy, 99)) * 1000,
        "add": float(np.median(adds)) * 1000,
        "memory": resident,
        "before": before,
        "disk": stats.disk_bytes / 1e6,
        "start": start_up,
    }


def step(name: str, folder: Path) -> dict[str, float]:
    """One step in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.memory_scale", "--step", name, "--folder", str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def row(size: int, folder: Path) -> Row:
    """All figures of one size."""
    table, queries = draw(size, _RECALL_QUERIES)
    np.save(folder / "table.npy", table)
    np.save(folder / "queries.npy", queries)
    (folder / "truth.json").write_text(json.dumps(exact(table, queries, 5)))
    del table
    filled, measured = step("fill", folder), step("measure", folder)
    return {
        "experiences": size,
        "recall@5": round(measured["recall"], 4),
        "query p50, ms": round(measured["p50"], 2),
        "query p99, ms": round(measured["p99"], 2),
        "of it CPU, ms": round(measured["cpu"], 2),
        "written per s": round(filled["rate"]),
        "one add, ms": round(measured["add"], 1),
        "memory, MB": round(measured["memory"]),
        "before opening, MB": round(measured["before"]),
        "disk, MB": round(measured["disk"]),
        "start-up, s": round(measured["start"], 1),
    }


def drawing(rows: Sequence[Row]) -> str:
    """Growth as SVG: both axes logarithmic, one panel for each of `_COLUMNS`."""
    width, height, gap = 240, 170, 50
    sizes = [float(str(row["experiences"])) for row in rows]
    parts = []
    for panel, (column, title) in enumerate(_COLUMNS):
        values = [max(float(str(row[column])), 1e-3) for row in rows]
        low, high = np.floor(np.log10(min(values))), np.ceil(np.log10(max(values)) + 1e-9)
        left = gap + panel * (width + gap)
        points = []
        for size, value in zip(sizes, values, strict=True):
            x = left + width * (np.log10(size) - 3.5) / 3
            y = gap + height * (1 - (np.log10(value) - low) / max(high - low, 1))
            points.append((x, y))
            parts.append(f'<circle cx="{x:.0f}" cy="{y:.0f}" r="3"/>')
            parts.append(f'<text x="{x:.0f}" y="{y - 8:.0f}" text-anchor="middle">{value:,.4g}</text>')
            parts.append(f'<text x="{x:.0f}" y="{gap + height + 16}" text-anchor="middle">{size:,.0f}</text>')
        line = " ".join(f"{x:.0f},{y:.0f}" for x, y in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="black"/>')
        parts.append(f'<rect x="{left}" y="{gap}" width="{width}" height="{height}" fill="none" stroke="gray"/>')
        parts.append(f'<text x="{left}" y="{gap - 12}" font-weight="bold">{title}</text>')
    total = gap + len(_COLUMNS) * (width + gap)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total} {height + 2 * gap}" font-family="sans-serif" '
        f'font-size="11"><rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n'
    )


def keep(out: Path, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Write the rows, those of other sizes beside them, and the drawing; all rows."""
    known: list[dict[str, Any]] = json.loads(out.read_text())["rows"] if out.exists() else []
    merged = {int(row["experiences"]): row for row in [*known, *({**row, "machine": machine()} for row in rows)]}
    every = [merged[size] for size in sorted(merged)]
    out.write_text(json.dumps({"command": "memory_scale", "rows": every}, indent=1) + "\n")
    out.with_suffix(".svg").write_text(drawing(every))
    return every


def main() -> None:
    """Measure every size asked for, or take one step of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--folder", type=Path, help="where the stores are made; needs about 6 GB for each million")
    parser.add_argument("--step", choices=["fill", "measure"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step is not None:
        print(json.dumps(asyncio.run((fill if given.step == "fill" else measure)(given.folder))))
        return
    rows = []
    for size in given.sizes:
        folder = Path(tempfile.mkdtemp(prefix="burnish-scale-", dir=given.folder))
        try:
            rows.append(row(size, folder))
        finally:
            shutil.rmtree(folder)
        if given.out is not None:
            keep(given.out, rows)
    publish(f"memory_scale --sizes {' '.join(map(str, given.sizes))}", rows, as_json=given.json)


if __name__ == "__main__":
    main()
