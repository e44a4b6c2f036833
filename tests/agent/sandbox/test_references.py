"""Reference solutions of the benchmark files pass their own tests."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import pytest

from agent.sandbox.pool import WorkerPool
from memory.records import CodeTest, Outcome, Verdict
from tests.data import data_file

pytestmark = pytest.mark.asyncio(loop_scope="session")

BROKEN = {f"MBPP/{number}" for number in (596, 601, 607, 631, 642, 899, 927, 966, 967)}
"""Listed in the data's README: they fail their own tests on Python 3.11."""
LEETCODE_SAMPLE = slice(0, None, 9)

LEETCODE_PRELUDE = """
import bisect, collections, copy, datetime, functools, heapq, itertools, math, operator, random, re, string
from bisect import *
from collections import *
from functools import *
from heapq import *
from itertools import *
from math import *
from operator import *
from string import *
from typing import *
inf = float("inf")

class ListNode:
    def __init__(self, val=0, next=None):
        self.val = val
        self.next = next

class TreeNode:
    def __init__(self, val=0, left=None, right=None):
        self.val = val
        self.left = left
        self.right = right

def list_node(values):
    head = None
    for value in reversed(values):
        head = ListNode(value, head)
    return head

def is_same_list(one, other):
    while one and other:
        if one.val != other.val:
            return False
        one, other = one.next, other.next
    return one is None and other is None

def tree_node(values):
    if not values:
        return None
    root = TreeNode(values[0])
    waiting, rest = collections.deque([root]), collections.deque(values[1:])
    while rest:
        node = waiting.popleft()
        for side in ("left", "right"):
            if rest and (value := rest.popleft()) is not None:
                child = TreeNode(value)
                setattr(node, side, child)
                waiting.append(child)
    return root

def is_same_tree(one, other):
    if one is None or other is None:
        return one is other
    return one.val == other.val and is_same_tree(one.left, other.left) and is_same_tree(one.right, other.right)
"""


def rows(name: str) -> list[dict[str, Any]]:
    with gzip.open(data_file(name), "rt") as lines:
        return [json.loads(line) for line in lines]


async def failed(pool: WorkerPool, problems: list[tuple[str, str, str, str, str]]) -> dict[str, Verdict]:
    """Verdicts of those references that do not pass."""

    async def one(code: str, source: str, entry_point: str, prelude: str) -> Verdict:
        return await pool.run(code, [CodeTest(source=source, runner="check")], entry_point=entry_point, prelude=prelude)

    verdicts = await asyncio.gather(*(one(*problem[1:]) for problem in problems))
    return {
        problem[0]: verdict
        for problem, verdict in zip(problems, verdicts, strict=True)
        if verdict.outcome is not Outcome.PASSED or verdict.total == 0
    }


@pytest.mark.parametrize("name", ["humaneval", "mbpp_train", "mbpp_validation"])
async def test_functions(pool: WorkerPool, name: str) -> None:
    problems = [
        (row["task_id"], row["prompt"] + row["canonical_solution"], row["test"], row["entry_point"], "")
        for row in rows(f"{name}.jsonl.gz")
    ]
    assert (await failed(pool, problems)).keys() <= BROKEN


async def test_leetcode_sample(pool: WorkerPool) -> None:
    problems = [
        (row["task_id"], row["solutions"], row["tests"]["functional"], "Solution", LEETCODE_PRELUDE)
        for row in rows("leetcode_train.jsonl.gz")[LEETCODE_SAMPLE]
        if "sortedcontainers" not in row["solutions"]
    ]
    assert len(problems) >= 200
    assert await failed(pool, problems) == {}
