"""The durable store: what its files hold, what survives, what is gone, and what it costs to be interrupted."""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from memory.chroma import ChromaIndex
from memory.embed import Embedder, Vector
from memory.errors import StoreUnavailable
from memory.experience import Query, Selection
from memory.experience_store import DurableExperienceStore
from tests.fakes import HashingEmbedder
from tests.memory.adding_child import write_often
from tests.memory.chroma_server import ChromaServer
from tests.memory.experiences import lesson, solution

Opener = Callable[..., Awaitable[DurableExperienceStore]]


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Opener]:
    """Opens the store of this test; a new one closes the one before."""
    stores: list[DurableExperienceStore] = []

    async def close() -> None:
        while stores:
            await stores.pop().aclose()

    async def opener(embedder: Embedder | None = None, **settings: object) -> DurableExperienceStore:
        await close()
        store = await DurableExperienceStore.open(tmp_path, embedder or HashingEmbedder(), **settings)  # type: ignore[arg-type]
        stores.append(store)
        await store.ready()
        return store

    yield opener
    await close()


@pytest.fixture
def chroma(tmp_path: Path) -> Iterator[ChromaServer]:
    server = ChromaServer(tmp_path / "server")
    yield server
    server.stop()


def ask(text: str, **fields: object) -> Query:
    return Query(**{"tenant": "local", "kind": "solution", "text": text, **fields})  # type: ignore[arg-type]


async def found(store: DurableExperienceStore, text: str, **fields: object) -> list[str]:
    return [hit.experience.id for hit in await store.near(ask(text, **fields))]


async def all_found(store: DurableExperienceStore, numbers: range) -> None:
    for number in numbers:
        hits = await found(store, solution(number).gist, words=(f"number_{number}",))
        assert hits[0] == f"solution-{number}"


async def test_everything_is_there_after_reopening(opened: Opener) -> None:
    store = await opened()
    await store.add([solution(number) for number in range(20)])
    await store.credit(["solution-3"], helped=True)
    store = await opened()
    await all_found(store, range(20))
    [hit, *_] = await store.near(ask(solution(3).gist))
    assert (hit.usage.shown, hit.usage.helped) == (1, 1)


async def test_a_second_opener_is_told(opened: Opener, tmp_path: Path) -> None:
    await opened()
    with pytest.raises(StoreUnavailable, match="another process"):
        await DurableExperienceStore.open(tmp_path, HashingEmbedder())


async def test_a_lost_chroma_is_made_again(opened: Opener, tmp_path: Path) -> None:
    store = await opened()
    await store.add([*(solution(number) for number in range(20)), lesson(1)])
    await store.aclose()
    shutil.rmtree(tmp_path / "chroma")
    store = await DurableExperienceStore.open(tmp_path, HashingEmbedder(broken=False))
    await all_found(store, range(20))
    await store.aclose()


async def test_a_broken_chroma_is_made_again(opened: Opener, tmp_path: Path) -> None:
    store = await opened()
    await store.add([solution(number) for number in range(20)])
    await store.aclose()
    (tmp_path / "chroma" / "chroma.sqlite3").write_bytes(b"no database" * 1000)
    store = await DurableExperienceStore.open(tmp_path, HashingEmbedder())
    await all_found(store, range(20))
    await store.aclose()


async def test_a_graph_that_was_being_written_is_made_again(opened: Opener, tmp_path: Path) -> None:
    store = await opened()
    await store.add([solution(number, code=f"x = {number}") for number in range(1_100)])
    await store.aclose()
    index = ChromaIndex.open(tmp_path / "chroma", 256)
    names = index.names("burnish-")
    index.flush(names)
    index.close()
    (tmp_path / "chroma" / "writing").write_text(names[0])
    [graph] = (tmp_path / "chroma").rglob("data_level0.bin")
    graph.write_bytes(graph.read_bytes()[:1_000])  # to read this would end the process
    store = await opened()
    await all_found(store, range(0, 1_100, 100))
    assert not (tmp_path / "chroma" / "writing").exists()


async def test_a_machine_that_went_down_costs_chromas_files(opened: Opener, tmp_path: Path) -> None:
    store = await opened()
    await store.add([solution(number) for number in range(5)])
    await store.aclose()
    with closing(sqlite3.connect(tmp_path / "experiences.sqlite")) as rows:
        assert rows.execute("SELECT count(*) FROM facts WHERE name = 'boot'").fetchone() == (0,)
        rows.execute("INSERT INTO facts VALUES ('boot', 'an earlier one')")
        rows.commit()
    (tmp_path / "chroma" / "relic").touch()
    store = await opened()
    assert not (tmp_path / "chroma" / "relic").exists()
    await all_found(store, range(5))


async def test_what_chroma_does_not_take_is_brought_in_later(tmp_path: Path, chroma: ChromaServer) -> None:
    chroma.start()
    store = await DurableExperienceStore.open(tmp_path / "store", HashingEmbedder(), chroma_url=chroma.url)
    await store.add([solution(1)])
    chroma.stop()
    assert await store.add([solution(2)]) == 1
    assert (await found(store, solution(2).gist))[0] == "solution-2"
    chroma.start()
    assert await store.add([solution(3)]) == 1
    await store.ready()
    await store.aclose()
    index = ChromaIndex.connect(chroma.url, 256)
    [name] = index.names("burnish-")
    assert index.numbers(name) == {1, 2, 3}
    index.close()


async def test_what_chroma_has_too_little_or_too_much_is_put_right(opened: Opener, tmp_path: Path) -> None:
    store = await opened()
    await store.add([solution(number) for number in range(20)])
    await store.aclose()
    index = ChromaIndex.open(tmp_path / "chroma", 256)
    [name] = index.names("burnish-")
    index.forget(name, [3, 4])
    index.put(name, [999], [np.ones(256, dtype=np.float32)])
    index.put("burnish-of-another", [1], [np.ones(256, dtype=np.float32)])
    index.close()
    store = await opened()
    await all_found(store, range(20))
    await store.aclose()
    index = ChromaIndex.open(tmp_path / "chroma", 256)
    assert index.numbers(name) == set(range(1, 21))
    assert "burnish-of-another" in index.names("burnish-")
    index.close()


async def test_another_model_embeds_everything_again(opened: Opener, caplog: pytest.LogCaptureFixture) -> None:
    store = await opened()
    await store.add([solution(number) for number in range(5)])
    other = HashingEmbedder(name="other", dimensions=32)
    store = await opened(other)
    assert other.embedded == 5
    assert "embedded again" in caplog.text
    await all_found(store, range(5))
    assert (await store.stats()).model == "other"


async def test_a_rebuild_in_the_background_finishes(opened: Opener, tmp_path: Path) -> None:
    store = await opened()
    await store.add([solution(number, code=f"x = {number}") for number in range(2_600)])
    await store.aclose()
    shutil.rmtree(tmp_path / "chroma")
    store = await DurableExperienceStore.open(tmp_path, HashingEmbedder())
    await store.ready()
    await all_found(store, range(0, 2_600, 100))
    await store.aclose()


async def test_the_size_is_capped(opened: Opener) -> None:
    store = await opened(most=5)
    await store.add([solution(number) for number in range(4)])
    await store.add([solution(50, tenant="other")])
    await store.credit(["solution-0"], helped=True)
    await store.credit(["solution-2"], helped=False)
    await store.add([solution(number) for number in (4, 5, 6)])
    left = [experience.id async for experience in store.every(Selection(tenant="local"))]
    assert left == ["solution-0", "solution-3", "solution-4", "solution-5", "solution-6"]
    assert await found(store, solution(2).gist) != ["solution-2"]
    assert (await store.stats()).tenants == 2


async def test_old_failures_are_forgiven(opened: Opener) -> None:
    now = 1_000_000.0
    store = await opened(clock=lambda: now)
    await store.add([solution(1, "reverse a sentence"), solution(2, "reverse a sentence")])
    for _ in range(10):
        await store.credit(["solution-1"], helped=False)
    await store.credit(["solution-2"], helped=False)
    ranks = {hit.experience.id: hit.rank for hit in await store.near(ask("reverse a sentence"))}
    now += 400 * 86_400
    later = {hit.experience.id: hit.rank for hit in await store.near(ask("reverse a sentence"))}
    assert ranks["solution-1"] < 0.2 * later["solution-1"]
    assert later["solution-1"] == pytest.approx(later["solution-2"], rel=0.01)


async def test_renamed_copies_are_shown_once(opened: Opener) -> None:
    store = await opened()
    gist = "sum a list of numbers"
    first = solution(
        1, gist, code="def f(xs):\n    total = 0\n    for x in xs:\n        total += x\n    return total\n"
    )
    copy = solution(2, gist, code=first.code.replace("total", "result").replace("xs", "values"))
    other = solution(3, gist, code="def f(xs):\n    return sum(xs)\n")
    assert await store.add([first, copy, other]) == 3
    assert sorted(await found(store, gist)) == ["solution-1", "solution-3"]


async def test_a_rare_error_is_found_among_many(opened: Opener) -> None:
    store = await opened()
    message = "unsupported operand"
    await store.add([lesson(number, message=message) for number in range(600)])
    await store.add([lesson(1_000, error="OddError", message=message)])
    text = f"OddError: {message}\nreturn x + y_1"
    assert await found(store, text, kind="lesson", error="OddError") == ["lesson-1000"]


async def test_many_of_one_problem_do_not_hide_the_rest(opened: Opener) -> None:
    store = await opened()
    gist = "reverse the words of a sentence"
    await store.add([solution(number, gist, problem="same") for number in range(200)])
    await store.add([solution(900, gist + " please")])
    assert set(await found(store, gist, without_problem="same")) == {"solution-900"}


def files_with(folder: Path, needle: bytes) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.is_file() and needle in path.read_bytes()]


def files_with_vector(folder: Path, vector: Vector) -> list[str]:
    """Files in which the first numbers of the vector stand beside each other, in single or half precision."""
    names = []
    for path in folder.rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        half = vector.astype(np.float16)
        if half[:16].tobytes() in data:
            names.append(f"{path} (half)")
        exact = half.astype(np.float32)
        for offset in range(4):
            numbers = np.frombuffer(data[offset : len(data) - (len(data) - offset) % 4], dtype=np.float32)
            with np.errstate(invalid="ignore", over="ignore"):
                near = [np.abs(numbers[place : len(numbers) - 8 + place] - exact[place]) < 1e-4 for place in range(8)]
            if np.any(np.logical_and.reduce(near)):
                names.append(f"{path} (single)")
    return names


@pytest.mark.parametrize("withdrawn", [False, True])
async def test_a_purge_leaves_no_byte(opened: Opener, tmp_path: Path, withdrawn: bool) -> None:
    embedder = HashingEmbedder()
    store = await opened(embedder)
    await store.add([solution(number, code=f"kept_{number} = {number}") for number in range(1_200)])
    secret = solution(5_000, "xylophone quartet", code="marimba = 'glockenspiel'", signature="def celesta():")
    beside = replace(secret, id="vibraphone", problem="dulcimer", tenant="accordionist")
    await store.add([secret, beside, lesson(5_001, message="harmonium", trajectory_id=secret.trajectory_id)])
    await store.credit([secret.id], helped=True)
    [vector] = await embedder.embed([secret.gist])
    needles = [b"xylophone", b"glockenspiel", b"celesta", b"accordionist", b"vibraphone", b"dulcimer", b"harmonium"]
    assert all(files_with(tmp_path, needle) for needle in needles)
    assert files_with_vector(tmp_path, vector)
    if withdrawn:
        assert await store.withdraw(Selection(trajectory_id=secret.trajectory_id, tenant="local")) == 2
    assert await store.purge(Selection(trajectory_id=secret.trajectory_id)) == (1 if withdrawn else 3)
    await store.purge(Selection(tenant="accordionist"))
    assert [needle for needle in needles if files_with(tmp_path, needle)] == []
    assert files_with_vector(tmp_path, vector) == []
    await all_found(store, range(0, 1_200, 100))
    store = await opened()
    await all_found(store, range(0, 1_200, 100))


async def test_searches_go_on_during_a_purge(opened: Opener) -> None:
    store = await opened()
    await store.add([solution(number, code=f"x = {number}") for number in range(1_200)])
    purge = asyncio.create_task(store.purge(Selection(since=1_150.0)))
    searches = 0
    while not purge.done():
        await all_found(store, range(5, 6))
        searches += 1
    assert purge.result() == 50
    assert searches > 0


async def test_a_purge_that_was_interrupted_is_finished_on_opening(opened: Opener, tmp_path: Path) -> None:
    store = await opened()
    await store.add([solution(1), solution(2, "xylophone")])
    await store.aclose()
    with closing(sqlite3.connect(tmp_path / "experiences.sqlite")) as rows:
        collection = "burnish-" + rows.execute("SELECT value FROM facts WHERE name = 'store'").fetchone()[0] + "-1-1"
        rows.execute("INSERT INTO gone VALUES (2, ?, 1)", (collection,))
        rows.execute("DELETE FROM experiences WHERE number = 2")
        rows.execute("UPDATE shelves SET held = 1")
        rows.execute("INSERT INTO facts VALUES ('unclean', '1')")
        rows.commit()
    store = await opened()
    assert await found(store, "xylophone") == []
    assert await found(store, solution(1).gist) == ["solution-1"]
    with closing(sqlite3.connect(tmp_path / "experiences.sqlite")) as rows:
        assert rows.execute("SELECT count(*) FROM gone").fetchone() == (0,)
        assert rows.execute("SELECT count(*) FROM facts WHERE name = 'unclean'").fetchone() == (0,)


async def test_a_full_purge_leaves_an_empty_store(opened: Opener) -> None:
    store = await opened()
    await store.add([solution(1), lesson(2), solution(3, tenant="other")])
    assert await store.purge(Selection()) == 3
    assert await found(store, solution(1).gist) == []
    stats = await store.stats()
    assert (stats.solutions, stats.lessons, stats.tenants) == (0, 0, 0)
    assert await store.add([solution(1)]) == 1
    assert await found(store, solution(1).gist) == ["solution-1"]


async def test_kill_at_any_moment(tmp_path: Path) -> None:
    """A child adds and is killed; every experience it acknowledged is there and found."""
    rng = random.Random(0)
    acknowledged: list[int] = []
    for turn in range(4):
        command = [sys.executable, "-m", "tests.memory.adding_child", str(tmp_path), str(turn)]
        child = await asyncio.to_thread(subprocess.Popen, command, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        first = await asyncio.to_thread(child.stdout.readline)
        await asyncio.sleep(rng.uniform(0.0, 0.7))
        child.send_signal(signal.SIGKILL)
        rest = await asyncio.to_thread(child.stdout.read)
        child.wait()
        child.stdout.close()
        acknowledged += [int(line) for line in (first + rest).splitlines(keepends=True) if line.endswith("\n")]
        await asyncio.to_thread(write_often, tmp_path)
    assert acknowledged
    store = await DurableExperienceStore.open(tmp_path, HashingEmbedder())
    kept = {experience.id async for experience in store.every(Selection())}
    assert {f"solution-{number}" for number in acknowledged} <= kept
    for number in acknowledged[::7]:
        assert (await found(store, solution(number).gist))[0] == f"solution-{number}"
    stats = await store.stats()
    assert stats.solutions == len(kept)
    await store.aclose()
