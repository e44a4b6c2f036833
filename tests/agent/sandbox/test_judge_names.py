"""What a program may have the judge import."""

from __future__ import annotations

import sys

import pytest

from agent.sandbox.judge.names import Names
from agent.sandbox.judge.program import Program
from agent.sandbox.judge.proxy import Proxy
from agent.sandbox.wire import codec
from agent.sandbox.wire.codec import Json
from agent.sandbox.wire.rpc import Gone


class Answering:
    """A program that answers every request alike."""

    def __init__(self, reply: dict[str, Json]) -> None:
        self._reply = reply

    def request(self, op: str, arguments: Json) -> dict[str, Json]:
        return self._reply


def names(*reported: list[str], reply: Json = None) -> Names:
    return Names(
        Program(lambda answer, unsent: Answering(reply or {"ok": codec.encode(7)}), {}), list(reported), {}, ""
    )


@pytest.mark.parametrize(
    ("module", "attribute"),
    [
        ("unittest.__main__", "main"), ("idlelib.idle", "idle"), ("antigravity", "geohash"), ("this", "d"),
        ("__main__", "x"), ("json..", "x"), ("os\0", "x"), ("", ""), ("nothing", "x"), ("json", "nothing"),
        ("test.support", "x"), ("ctypes.wintypes.x", "x"), ("agent.errors", "x"),
    ],
)  # fmt: skip
def test_imports_that_are_refused(module: str, attribute: str) -> None:
    name = attribute or "x"
    before = set(sys.modules)
    with pytest.raises(KeyError):
        names([name, "import", module, attribute]).find(name)
    assert not {"antigravity", "this", "idlelib.idle"} & (set(sys.modules) - before)


def test_imports() -> None:
    import heapq
    import os.path

    assert names(["heappush", "import", "_heapq", "heappush"]).find("heappush") is heapq.heappush
    assert names(["join", "import", "posixpath", "join"]).find("join") is os.path.join
    assert names(["this", "own"]).find("this") == 7


def test_a_function_whose_number_is_told_is_not_asked_for() -> None:
    found = names(["f", "function", "3"], reply={"no": 0}).find("f")

    assert isinstance(found, Proxy)
    assert (found.burnish_index, found.burnish_name) == (3, "f")


@pytest.mark.parametrize(
    "reply",
    [
        {"ok": 5}, {}, {"ok": {"v": ["q", None, ["r", 0, 10**12, 1]], "o": []}}, {"ok": {"v": ["h", "c"], "o": []}},
        {"ok": {"v": ["h", "c", 0, "class", "E", [f"E{n}" for n in range(3000)]], "o": []}},
    ],
    ids=lambda reply: str(reply)[:40],
)  # fmt: skip
def test_replies_that_are_none(reply: dict[str, Json]) -> None:
    with pytest.raises(Gone):
        names(["f", "own"], reply=reply or {"no": 0}).find("f")
