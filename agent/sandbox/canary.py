"""Tests that no program can pass, run before and after those that run beside the program: one that passes, or fails in
other words than it should, shows that the program changed what tests rely on."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from agent.sandbox.plan import Unit
from agent.sandbox.verdict import Case
from memory.records import Fault, Outcome

_SOURCE = """
import unittest
import pytest

def test_assert():
    assert {left} == {right}

def test_raises():
    with pytest.raises(ValueError, match="{right}"):
        raise ValueError({left})

class TestCanary(unittest.TestCase):
    def test_equal(self):
        self.assertEqual({left}, {right})
"""
_CASES = 3
TAMPERED = Fault(type="TamperedTests", message="the program changed what the tests in its process rely on")


class Canary:
    """One of them; `index` must be that of no test."""

    def __init__(self, index: int) -> None:
        self._left, self._right = str(secrets.randbits(60)), str(secrets.randbits(60) | 1 << 61)
        source = _SOURCE.format(left=self._left, right=self._right)
        self.unit = Unit(index, "canary", "pytest", source, ("canary",), in_process=True)

    def died(self, cases: Mapping[int, Case]) -> bool:
        """Whether its tests, which must fail, did anything else."""
        return len(cases) != _CASES or not all(self._failed(case) for case in cases.values())

    def _failed(self, case: Case) -> bool:
        result = case.result
        told = f"{result.message} {result.actual} {result.expected}"
        return result.outcome is Outcome.FAILED_TEST and self._left in told and self._right in told
