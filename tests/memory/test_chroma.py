"""The vector index: the same in this process and on a server of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from memory.chroma import ChromaIndex
from memory.embed import Vector
from memory.errors import IndexFailure, StoreUnavailable
from memory.experience import Query, Selection
from memory.experience_store import DurableExperienceStore
from tests.fakes import HashingEmbedder
from tests.memory.chroma_server import ChromaServer
from tests.memory.experiences import solution

_NAME = "burnish-test-1-1"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Chroma server's URL."""
    process = ChromaServer(tmp_path_factory.mktemp("chroma"))
    process.start()
    yield process.url
    process.stop()


@pytest.fixture(params=["embedded", "server"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ChromaIndex]:
    if request.param == "embedded":
        opened = ChromaIndex.open(tmp_path, 8)
    else:
        opened = ChromaIndex.connect(request.getfixturevalue("server"), 8)
    yield opened
    opened.drop(_NAME)
    opened.close()


def unit(place: int) -> Vector:
    return np.asarray(np.eye(8)[place], dtype=np.float32)


def test_put_find_forget(index: ChromaIndex) -> None:
    assert index.size(_NAME) == 0
    index.put(_NAME, [1, 2, 3], [unit(0), unit(1), (unit(0) + unit(1)) / np.float32(2**0.5)])
    index.put(_NAME, [1], [unit(5)])
    hits = index.nearest(_NAME, unit(0), 10)
    assert [number for number, _ in hits] == [1, 3, 2]
    assert [cosine for _, cosine in hits] == pytest.approx([1.0, 2**-0.5, 0.0], abs=1e-4)
    index.forget(_NAME, [1, 77])
    assert index.numbers(_NAME) == {2, 3}
    assert index.size(_NAME) == 2
    index.flush([_NAME])
    index.sweep()
    assert [number for number, _ in index.nearest(_NAME, unit(0), 10)] == [3, 2]
    assert _NAME in index.names("burnish-test-")
    index.drop(_NAME)
    index.drop(_NAME)
    assert _NAME not in index.names("burnish-test-")


def test_no_server() -> None:
    with pytest.raises(IndexFailure, match="Chroma"):
        ChromaIndex.connect("http://127.0.0.1:9", 8)
    with pytest.raises(IndexFailure, match="not a URL"):
        ChromaIndex.connect("chroma", 8)


async def test_a_store_on_a_server(server: str, tmp_path: Path) -> None:
    store = await DurableExperienceStore.open(tmp_path, HashingEmbedder(), chroma_url=server)
    await store.add([solution(number, code=f"x_{number} = {number}") for number in range(1_100)])
    ask = Query(tenant="local", kind="solution", text=solution(7).gist, words=("number_7",))
    assert (await store.near(ask))[0].experience.id == "solution-7"
    assert await store.purge(Selection(trajectory_id="trajectory-7")) == 1
    assert "solution-7" not in {hit.experience.id for hit in await store.near(ask)}
    assert await store.purge(Selection()) == 1_099
    await store.aclose()


async def test_a_store_without_its_server(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="Chroma"):
        await DurableExperienceStore.open(tmp_path, HashingEmbedder(), chroma_url="http://127.0.0.1:9")
    store = await DurableExperienceStore.open(tmp_path, HashingEmbedder())
    await store.aclose()
