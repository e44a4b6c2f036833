"""Tests that stand in a prompt. `find_tests` is the entry; the README names the forms."""

from agent.examples.finder import find_tests

__all__ = ["find_tests"]
