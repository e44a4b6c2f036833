"""The template: a warm interpreter inside the jail that is forked for every program, and another one for every judge.

It does nothing else, because every page it writes to between two forks is copied: 2 to 3 microseconds each. The server
sends it orders, before it serves also the worker (its parent), which becomes the parent of what it forks. Standard
library only.

    server -> template   one datagram per process: the order, marshalled, with the descriptors 0 to 4 of the process.
                         What is started before {"role": "seal", "pages", "core"} only rehearses: at its end it writes
                         to descriptor 1 which of its pages are its own. With that order the template has the pages that
                         it names copied at every fork, moves to the core, and gives up what it does not need to fork
    template -> worker   once: sizes of the template (two uint64, bytes: address space, resident), with its pagemap
                         where it has one; then for each order an `Answer`
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import marshal
import os
import signal
import site
import socket
import struct
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NamedTuple

from agent.sandbox.judge import judge
from agent.sandbox.program import candidate
from agent.sandbox.walls import adaptation, command, kernel, mappings, pages, probe
from agent.sandbox.walls.jail import Allowance, Jail

MAX_MESSAGE = 65536
SIZES = struct.Struct("QQ")
FAILED = 120
"""Exit status of a process that could not be confined."""
BROKEN = 121
"""Of one that was, and whose harness raised."""
RESERVED = 5
"""Descriptors that a jailed process gets; the template's own ones are higher."""

_ANSWER = struct.Struct("iH")

# fmt: off
_PREIMPORTED = (
    "abc", "ast", "bisect", "collections", "collections.abc", "contextlib", "copy", "dataclasses", "datetime", "enum",
    "functools", "heapq", "inspect", "io", "itertools", "json", "math", "operator", "os", "random", "re", "string",
    "struct", "sys", "textwrap", "threading", "time", "traceback", "types", "typing", "unittest",
)
"""What many programs import and little else: each page and each mapped library costs every fork. `asyncio`, `hashlib`
and the like would double that; a program that wants them imports them in some 20 ms."""
# fmt: on


class Answer(NamedTuple):
    """What became of an order."""

    pid: int
    """Of the new process; minus the errno of a failed fork; for `seal` 0."""
    scratch: str
    """Private folder of the process, as it sees it."""
    order: bytes

    def packed(self) -> bytes:
        """As one datagram."""
        scratch = os.fsencode(self.scratch)
        return _ANSWER.pack(self.pid, len(scratch)) + scratch + self.order

    @classmethod
    def receive(cls, orders: socket.socket) -> Answer:
        """The next one. Raises BrokenPipeError if the template has ended."""
        data = orders.recv(2 * MAX_MESSAGE)
        if not data:
            raise BrokenPipeError("a template has ended")
        pid, size = _ANSWER.unpack_from(data)
        start = _ANSWER.size
        return cls(pid, os.fsdecode(data[start : start + size]), data[start + size :])


def run(candidates: socket.socket, judges: socket.socket, walls: Jail, procfs: int) -> None:
    """Fork to order until the worker is gone, in this process for candidates and all that is no judge, and in a second
    one for judges; returns then, in both. `procfs` is a descriptor of /proc. Where they may, these and what they fork
    are scheduled as batch work: none takes the core from another, or from the server, the moment that it is woken."""
    for name in _PREIMPORTED:
        importlib.import_module(name)
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    mappings.join(procfs)
    mappings.enlarge(procfs)
    site.setquit()
    sys.path.extend(walls.packages)
    candidate.settle()
    orders, others, adapt, uid = candidates, judges, adaptation.to_candidates, walls.identity.candidate
    if kernel.clone(kernel.CLONE_PARENT) == 0:
        kernel.die_with_parent(signal.SIGKILL)
        orders, others, adapt, uid = judges, candidates, adaptation.to_judges, walls.identity.judge
        judge.settle()
    others.close()
    adapt()
    gc.collect()
    pages.fill_holes()
    gc.freeze()
    baseline_bytes = _tell_sizes(orders, procfs)
    walls.settle()
    areas = pages.areas(procfs)
    while True:
        order, fds, _, _ = socket.recv_fds(orders, MAX_MESSAGE, RESERVED)
        if not order:
            return
        if areas and (told := marshal.loads(order))["role"] == "seal":
            areas = []
            os.close(procfs)
            _seal(told["pages"], told["core"], walls)
            orders.send(Answer(0, "", order).packed())
            continue
        scratch = ""
        try:
            scratch = walls.scratch(uid)
            pid = walls.fork()
        except OSError as error:
            pid = -(error.errno or 1)
        if pid == 0:
            if areas:
                fds[2:3] = pages.pagemap(procfs)
            _become(marshal.loads(order), fds, walls, uid, scratch, baseline_bytes, areas)
        for fd in fds:
            os.close(fd)
        orders.send(Answer(pid, scratch, order).packed())


def _tell_sizes(orders: socket.socket, procfs: int) -> int:
    """Returns the bytes of this process's address space."""
    with open(os.open("self/statm", os.O_RDONLY, dir_fd=procfs), encoding="ascii") as memory:  # noqa: PTH123
        total, resident, *_ = map(int, memory.read().split())
    page = os.sysconf("SC_PAGE_SIZE")
    socket.send_fds(orders, [SIZES.pack(total * page, resident * page)], pages.pagemap(procfs))
    return total * page


def _seal(shared: Sequence[int], core: int | None, walls: Jail) -> None:
    """End the rehearsals."""
    pages.pin(shared)
    if core is not None:
        os.sched_setaffinity(0, {core})
    walls.seal()


def _become(
    order: dict[str, Any],
    fds: list[int],
    walls: Jail,
    uid: int,
    scratch: str,
    baseline_bytes: int,
    areas: Sequence[pages.Area],
) -> None:
    """In the new process: confine, close, and run what was asked for; of one that rehearses, tell which pages in
    `areas` are its own by its pagemap, which is its descriptor 2. Does not return."""
    status = FAILED
    try:
        wanted = order.get("command") or {}
        allowance = Allowance(
            memory_bytes=order["memory_mb"] << 20,
            cpu_seconds=int(order["cpu"]) + 2,
            counts_data=wanted.get("counts_data", False),
            forks=wanted.get("forks", True),
        )
        walls.confine(uid, allowance, baseline_bytes, scratch)
        for number, fd in enumerate(fds):
            os.dup2(fd, number)
        os.closerange(RESERVED, 1 << 20)
        status = BROKEN
        match order["role"]:
            case "candidate":
                status = candidate.run(3, 4)
            case "judge":
                status = judge.run(3, 4)
            case "command":
                status = command.run(wanted)
            case "probe":
                os.write(3, json.dumps(probe.attempt(probe.Bait(**order["bait"]), walls)).encode())
        if areas:
            os.write(1, marshal.dumps(list(pages.own(2, areas))))
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)
