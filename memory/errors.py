"""Failures of the stores and of what they rest on.

MemoryFailure
├── StoreUnavailable      a store cannot be opened, read or written; the message names it and the cause
├── IndexFailure          the vector index (Chroma) did not do what was asked; the stores turn it into the above
└── EmbedderUnavailable   the embedding model cannot be loaded or run; the message names it and what can be done
"""

from __future__ import annotations


class MemoryFailure(Exception):
    """Root of this package's exceptions."""


class StoreUnavailable(MemoryFailure):
    """A store cannot be used now."""


class IndexFailure(MemoryFailure):
    """The vector index cannot be used now."""


class EmbedderUnavailable(MemoryFailure):
    """The embedding model cannot be used."""
