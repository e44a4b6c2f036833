"""Runs test code in the program's own process, for tests that need the program's objects themselves.

The program can change what happens here: a verdict that rests on it says `in_process`. Standard library only: this
module runs inside the jail.
"""

from __future__ import annotations

import ast
import builtins
import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType, TracebackType
from typing import Any

from agent.sandbox.program import trace
from agent.sandbox.suite.fixtures import Fixtures
from agent.sandbox.suite.recorder import Recorder
from agent.sandbox.suite.script import TESTS
from agent.sandbox.suite.suite import Suite, offer_pytest
from agent.sandbox.wire.codec import Json
from agent.sandbox.wire.rpc import Peer


class _OwnHits(trace.Hits):
    def clear(self) -> None:
        super().clear()
        trace.rearm()


def run(
    order: Json, module: ModuleType, peer: Peer, trace_fd: int, describe: Callable[[BaseException], dict[str, Json]]
) -> dict[str, Json]:
    """Run the units of the order on the objects of `module`; the reply that ends them."""
    hits = _OwnHits(trace_fd, order["statements"])

    def fault_of(error: BaseException) -> dict[str, Json] | None:
        return describe(error) if _raised_in(error.__traceback__) == trace.PROGRAM else None

    base: dict[str, Any] = {"__name__": "tests", "__builtins__": builtins}

    def find(name: str, /, *, called: bool = False) -> Any:
        return module.__dict__[name]

    offer_pytest()
    suite = Suite(base, find, order["entry_point"], Fixtures(in_process=True))
    for unit in order["units"]:
        _let_import(unit["source"], module)
        skip = {case for index, case in order["skip"] if index == unit["index"]}
        suite.run(unit, Recorder(peer.send, unit["index"], skip, hits, fault_of))
    return {"event": "done", "nonce": order["nonce"]}


def _raised_in(traceback: TracebackType | None) -> str | None:
    """File of the innermost frame that is the program's or the test code's."""
    found = None
    while traceback is not None:
        name = traceback.tb_frame.f_code.co_filename
        if name in (trace.PROGRAM, TESTS):
            found = name
        traceback = traceback.tb_next
    return found


def _let_import(source: str, module: ModuleType) -> None:
    """Let test code import the program under any name that nothing else has."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            names = [node.module] if node.module and not node.level else []
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            first = name.split(".")[0]
            if first not in sys.modules and importlib.util.find_spec(first) is None:
                sys.modules[first] = sys.modules[name] = module
            elif sys.modules.get(first) is module:
                sys.modules[name] = module
