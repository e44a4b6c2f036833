"""Runs of a program of no meaning, before there are others.

A template plays them within itself, so that it holds what such runs otherwise each would have to work out and write
down: adapted code, looked up attributes. Its worker then has it play them in forks, to see which pages these write to.
Whoever asks for a run plays the server's part in it. Standard library only.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

from agent.sandbox.program import trace
from agent.sandbox.suite import script
from agent.sandbox.wire import frames
from agent.sandbox.wire.codec import Json
from agent.sandbox.wire.rpc import Gone, Peer

Start = Callable[[dict[str, Any], Sequence[int]], object]
"""Plays what an order says with descriptors, or starts a process that does."""

_PROGRAM = """\
def f(numbers, word="a"):
    found = {}
    for position, number in enumerate(numbers):
        if number % 2 == 0:
            found[number] = word + str(position)
    return [found[key] for key in sorted(found)]
"""
_CALLS = ("f([1, 2, 3, 4])", "f([], 'b')")
_CHECK = """\
def check(candidate):
    assert candidate([1, 2, 3, 4]) == ["a1", "a3"]
    assert candidate([], "b") == []
"""
_REQUESTS = (("call", {"v": ["t", ["g", "sorted"], ["t", ["l", 1]], ["t"], ["t"]], "n": 0}),)
"""Such as a judge makes."""
_UNIT: dict[str, Json] = {
    "index": 0, "name": "check", "runner": "check", "source": _CHECK, "script": script.told(_CHECK, "check"),
}  # fmt: skip
_SUITE: dict[str, Json] = {
    "nonce": "", "entry_point": "f", "statements": 0, "units": [_UNIT], "skip": [], "prelude": "", "seed": 0,
}  # fmt: skip
_ORDER: dict[str, Any] = {"memory_mb": 512, "cpu": 10.0}


def of_candidate(start: Start) -> list[int]:
    """Pages that the process of a program has for itself in the end, by their numbers."""
    return _asked(start, [("eval", call) for call in _CALLS], names=False, ends=True)


def of_judged_candidate(start: Start) -> None:
    """Play a program that a judge asks."""
    _asked(start, _REQUESTS, names=True, ends=False)


def of_judge(start: Start, start_program: Start) -> list[int]:
    """Pages that the process of a judge has for itself in the end, by their numbers; its program has to run in another
    one."""
    with contextlib.ExitStack() as stack:
        server, program = _pair(stack)
        server.sendall(_load(names=True, calls=None))
        file = _hits(stack)
        null = _null(stack)
        start_program({**_ORDER, "role": "candidate"}, [null, null, null, program.fileno(), file])
        program.close()
        suite, verdict = _pair(stack)
        suite.sendall(frames.pack({**_SUITE, "names": _names(server)}))
        ends = server.fileno(), verdict.fileno()
        return _told(lambda told: start({**_ORDER, "role": "judge"}, [file, told, null, *ends]))


def _asked(start: Start, requests: Sequence[tuple[str, Json]], *, names: bool, ends: bool) -> list[int]:
    """Play a program of which that is asked."""
    with contextlib.ExitStack() as stack:
        server, program = _pair(stack)
        server.sendall(_load(names=names, calls=len(requests) if ends else None))
        for number, (op, wire) in enumerate(requests):
            server.sendall(frames.pack({"id": number, "op": op, "a": wire}))
        server.shutdown(socket.SHUT_WR)
        file = _hits(stack)
        null = _null(stack)
        return _told(lambda told: start({**_ORDER, "role": "candidate"}, [null, told, null, program.fileno(), file]))


def _load(*, names: bool, calls: int | None) -> bytes:
    about = {"code": _PROGRAM, "prelude": "", "entry_point": "f", "seed": 0}
    return frames.pack({"mode": "call", **about, "names": names, "calls": calls})


def _names(server: socket.socket) -> Json:
    """The names of a program that is being loaded; none if it ends before."""
    reports = Peer(server.fileno(), _unasked)
    with contextlib.suppress(Gone):
        while True:
            report = reports.receive()
            if "names" in report:
                return report["names"]
    return []


def _unasked(op: str, wire: Json) -> dict[str, Json]:
    raise Gone("a program calls nobody while it is loaded")


def _told(start: Callable[[int], object]) -> list[int]:
    """What a process writes in its end to a pipe that it is started with."""
    reader, writer = os.pipe()
    with open(reader, "rb") as pipe:  # noqa: PTH123
        try:
            start(writer)
        finally:
            os.close(writer)
        told = pipe.read()
    return list(marshal.loads(told)) if told else []


def _pair(stack: contextlib.ExitStack) -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair()
    return stack.enter_context(ours), stack.enter_context(theirs)


def _hits(stack: contextlib.ExitStack) -> int:
    file = os.memfd_create("hits", os.MFD_CLOEXEC)
    stack.callback(os.close, file)
    os.ftruncate(file, trace.SIZE)
    return file


def _null(stack: contextlib.ExitStack) -> int:
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    stack.callback(os.close, null)
    return null
