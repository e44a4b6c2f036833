"""Runs test code in a process that the program cannot reach, with proxies in place of the program's objects.

Started by the zygote with two sockets: one to the program's process, one to the server, which sends the test source
over it and reads the result of each case from it. Standard input is the file that holds the program's hits; the test
code finds an empty one there. Standard library only: this module runs inside the jail.
"""

from __future__ import annotations

import builtins
import os
import random
import sys
import warnings
from typing import Any

from agent.sandbox.judge import abstract
from agent.sandbox.judge.batch import Batch
from agent.sandbox.judge.errors import FAULT
from agent.sandbox.judge.names import Finder, Names
from agent.sandbox.judge.program import Connect, Program
from agent.sandbox.program.trace import Hits
from agent.sandbox.suite.fixtures import Fixtures
from agent.sandbox.suite.recorder import MAX_TEXT, Recorder, Send
from agent.sandbox.suite.script import heard
from agent.sandbox.suite.suite import Suite, fill, offer_pytest, root_of
from agent.sandbox.wire import codec, frames
from agent.sandbox.wire.codec import Json
from agent.sandbox.wire.rpc import Gone, Peer

_LONGEST = 8000
"""Characters of a text in a fault record, and bytes of what is no text."""


def settle() -> None:
    """Do once what holds for every judge, in the process that forks them."""
    warnings.simplefilter("ignore")
    abstract.settle()
    offer_pytest()


def run(rpc_fd: int, verdict_fd: int) -> int:
    """Run the units of the order that the server sends; returns the exit status of the process."""
    verdict = Peer(verdict_fd, _refuse)
    batch = Batch(verdict)
    kept = os.dup(0)
    os.dup2(1, 0)
    try:
        order = verdict.receive()
        hits = Hits(kept, order["statements"])
        _judge(order, lambda answer, unsent: Peer(rpc_fd, answer, unsent), batch.send, hits)
        batch.flush()
    except Gone as gone:
        try:
            batch.flush()
            verdict.send({"event": "gone", "message": str(gone)[:MAX_TEXT]})
        except Gone:
            return 1
    finally:
        os.close(kept)
    return 0


def _refuse(op: str, wire: Json) -> dict[str, Json]:
    raise Gone("the server does not call the judge")


def _judge(order: dict[str, Json], connect: Connect, send: Send, hits: Hits) -> None:
    random.seed(order["seed"])
    entry_point = order["entry_point"]
    base: dict[str, Any] = {"__name__": "tests", "__builtins__": builtins}
    prelude = heard(order["prelude_script"], order["prelude"], "prelude") if order["prelude"] else None
    if prelude is not None:
        exec(prelude.code, base)
    given = {name: value for name, value in base.items() if isinstance(value, type) and value.__module__ == "tests"}
    program = Program(connect, given)
    names = Names(program, order["names"], base, root_of(entry_point))
    if prelude is not None:
        fill(base, prelude, names.find, entry_point)
    sys.meta_path.append(Finder(names))
    suite = Suite(base, names.find, entry_point, Fixtures(in_process=False), names.keep)
    for unit in order["units"]:
        program.tests = unit["source"]
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
