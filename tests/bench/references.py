"""The reference solutions of the benchmark files, as the sandbox takes them (tests/data.py says where they must be)."""

from __future__ import annotations

from dataclasses import dataclass

from memory.records import CodeTest
from tests.agent.sandbox.test_references import LEETCODE_PRELUDE, rows


@dataclass(frozen=True, slots=True)
class Reference:
    """One problem with a program that should solve it."""

    id: str
    code: str
    test: str
    """Source that defines `check(candidate)`."""
    entry_point: str
    prelude: str = ""

    @property
    def tests(self) -> list[CodeTest]:
        return [CodeTest(source=self.test, runner="check")]


def functions() -> list[Reference]:
    """HumanEval (164) and MBPP's train and validation parts (464)."""
    return [
        Reference(row["task_id"], row["prompt"] + row["canonical_solution"], row["test"], row["entry_point"])
        for name in ("humaneval", "mbpp_train", "mbpp_validation")
        for row in rows(f"{name}.jsonl.gz")
    ]


def leetcode() -> list[Reference]:
    """LeetCode's train part (1,889)."""
    return [
        Reference(row["task_id"], row["solutions"], row["tests"]["functional"], "Solution", LEETCODE_PRELUDE)
        for row in rows("leetcode_train.jsonl.gz")
    ]
