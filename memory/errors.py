"""Failures of the stores.

MemoryFailure
└── StoreUnavailable   the database cannot be opened, read or written; the message names it and the cause
"""

from __future__ import annotations


class MemoryFailure(Exception):
    """Root of this package's exceptions."""


class StoreUnavailable(MemoryFailure):
    """The trajectory store cannot be used now."""
