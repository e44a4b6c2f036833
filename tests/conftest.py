"""Fixtures for every test."""

from __future__ import annotations

from tests.real_engine import real_engine

__all__ = ["real_engine"]
