"""Runs test code in a process that the program cannot reach, with proxies in place of the program's objects.

Started by the zygote with two sockets: one to the program's process, one to the server, which sends the test source
over it and reads the result of each case from it. Standard input is the file that holds the program's hits; the test
code finds an empty one there. Standard library only: this module runs inside the jail.
"""

from __future__ import annotations

import ast
import builtins
import linecache
import os
import random
import sys
import warnings
from typing import Any

from agent.sandbox.judge.batch import Batch
from agent.sandbox.judge.errors import FAULT
from agent.sandbox.judge.names import Finder, Names
from agent.sandbox.judge.program import Connect, Program
from agent.sandbox.program.trace import Hits
from agent.sandbox.suite.cases import bound, nodes_of
from agent.sandbox.suite.fixtures import Fixtures
from agent.sandbox.suite.recorder import MAX_TEXT, Recorder, Send
from agent.sandbox.suite.suite import TESTS, Suite, fill, root_of
from agent.sandbox.wire import codec, frames
from agent.sandbox.wire.codec import Json
from agent.sandbox.wire.rpc import Gone, Peer

_LONGEST = 8000
"""Characters of a text in a fault record, and bytes of what is no text."""
_REHEARSALS = 10
"""See `candidate.settle`."""


def settle() -> None:
    """Rehearse a judge, in the process that forks them."""
    for _ in range(_REHEARSALS):
        _rehearse()


def run(rpc_fd: int, verdict_fd: int) -> int:
    """Run the units of the order that the server sends; returns the exit status of the process."""
    verdict = Peer(verdict_fd, _refuse)
    batch = Batch(verdict)
    try:
        order = verdict.receive()
        hits = Hits(os.dup(0), order["statements"])
        os.dup2(1, 0)
        _judge(order, lambda answer, unsent: Peer(rpc_fd, answer, unsent), batch.send, hits)
        batch.flush()
    except Gone as gone:
        try:
            batch.flush()
            verdict.send({"event": "gone", "message": str(gone)[:MAX_TEXT]})
        except Gone:
            return 1
    return 0


def _refuse(op: str, wire: Json) -> dict[str, Json]:
    raise Gone("the server does not call the judge")


def _judge(order: dict[str, Json], connect: Connect, send: Send, hits: Hits) -> None:
    random.seed(order["seed"])
    warnings.simplefilter("ignore")
    prelude, entry_point = order["prelude"], order["entry_point"]
    base: dict[str, Any] = {"__name__": "tests", "__builtins__": builtins}
    if prelude:
        exec(compile(prelude, "<prelude>", "exec", dont_inherit=True), base)
    given = {name: value for name, value in base.items() if isinstance(value, type) and value.__module__ == "tests"}
    program = Program(connect, given)
    names = Names(program, order["names"], base, root_of(entry_point))
    if prelude:
        fill(base, nodes_of(ast.parse(prelude)), names.find, entry_point)
    sys.meta_path.append(Finder(names))
    suite = Suite(base, names.find, entry_point, Fixtures(in_process=False))
    for unit in order["units"]:
        program.tests = unit["source"]
        names.taken = bound(ast.parse(unit["source"])) if "*" in unit["source"] else frozenset()
        skip = {case for index, case in order["skip"] if index == unit["index"]}
        suite.run(unit, Recorder(send, unit["index"], skip, hits, _fault_of))
    send({"event": "done", "nonce": order["nonce"]})


def _fault_of(error: BaseException) -> dict[str, Json] | None:
    described: dict[str, Json] | None = getattr(error, FAULT, None)
    return None if described is None else _bounded(described)


def _bounded(described: dict[str, Json]) -> dict[str, Json]:
    """What the server reads of a fault record, which the program made as large as it liked."""
    texts = {
        key: text[:_LONGEST] for key in ("type", "message", "traceback") if type(text := described.get(key)) is str
    }
    rest = {key: described.get(key) for key in ("memory", "line", "span", "variables")}
    try:
        return {**texts, **rest} if len(frames.pack(rest)) <= _LONGEST else texts
    except codec.Unserialisable:
        return texts


class _Rehearsed:
    """Answers as a program would whose `f` always returns `[1]`."""

    def request(self, op: str, arguments: Json) -> dict[str, Json]:
        told = codec.encode(_Rehearsed.request, _handle) if op == "name" else {"v": ["l", 1], "n": 1, "d": [1, 1]}
        return frames.unpack(frames.pack({"id": 1, "ok": told})[frames.HEADER.size :])


def _handle(value: object) -> list[Json]:
    return ["h", "c", 0, "function", "f", None]


def _pack(message: dict[str, Json]) -> None:
    frames.pack(message)


def _rehearse() -> None:
    """Judge a program of no meaning; what that leaves behind in this process is put back."""
    finders, filters = list(sys.meta_path), list(warnings.filters)
    file = os.memfd_create("rehearsal")
    unit = {
        "index": 0,
        "name": "check",
        "runner": "check",
        "source": "def check(candidate):\n    assert candidate([1]) == [1]\n",
    }
    order = {
        "seed": 0,
        "prelude": "",
        "entry_point": "f",
        "names": [["f", "own"]],
        "units": [unit],
        "skip": [],
        "nonce": "",
    }
    _judge(order, lambda answer, unsent: _Rehearsed(), _pack, Hits(file, 2))
    os.close(file)
    sys.meta_path[:], warnings.filters[:] = finders, filters  # type: ignore[index]
    del sys.modules["pytest"], sys.modules["tests"], linecache.cache[TESTS]
