"""The embedding model: the real one, and what happens where there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from memory.embed import DEFAULT_MODEL, SentenceEmbedder
from memory.errors import EmbedderUnavailable
from memory.experience import Query
from memory.experience_store import DurableExperienceStore
from tests.memory.experiences import solution


async def test_meaning_is_found_in_other_words(tmp_path: Path) -> None:
    embedder = await SentenceEmbedder.open()
    assert (embedder.name, embedder.dimensions) == (DEFAULT_MODEL, 384)
    store = await DurableExperienceStore.open(tmp_path, embedder)
    gists = (
        "Write a function to find the largest number in a list",
        "Check whether a string reads the same backwards",
        "Compute the n-th Fibonacci number",
    )
    await store.add([solution(number, gist) for number, gist in enumerate(gists)])
    for number, question in enumerate(
        ("Return the maximum element of an array", "Is the given text a palindrome?", "fibonacci sequence, term n")
    ):
        [hit, *_] = await store.near(Query(tenant="local", kind="solution", text=question))
        assert hit.experience.id == f"solution-{number}"
    nothing = await store.near(Query(tenant="local", kind="solution", text="How do I bake sourdough bread?"))
    assert nothing == []
    [first, *_, last] = await embedder.embed(["same", *["other"] * 70, "same \ud800" + "word " * 1_000_000])
    assert first.dtype == np.float32
    assert np.linalg.norm(first) == pytest.approx(1.0, abs=1e-5)
    assert np.linalg.norm(last) == pytest.approx(1.0, abs=1e-5)
    assert await embedder.embed([]) == []
    await store.aclose()
    await embedder.aclose()


async def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(EmbedderUnavailable, match=r"cannot be loaded.*give all-MiniLM-L6-v2"):
        await SentenceEmbedder.open(str(tmp_path))
