"""The template: a warm interpreter inside the jail that is forked for every program, and another one for every judge.

It does nothing else, because every page it writes to between two forks is copied: 2 to 3 microseconds each. The server
sends it orders, before it serves also the worker (its parent), which becomes the parent of what it forks. Standard
library only.

    server -> template   one datagram per process: the order, marshalled, with the descriptors 0 to 4 of the process.
                         What is started before {"role": "seal", "pages", "core"} only rehearses: at its end it writes
                         to descriptor 1 which of its pages are its own. With that order the template has the pages that
                         it names copied at every fork, moves to the core, and gives up what it does not need to fork
                         The very first says, from the worker, of what the jail is built: {"tier", "materials"}
    template -> worker   once, marshalled: {"missing"} where that cannot be, or {"tier", "features", "resident_mb"},
                         with the template's pagemap where it has one; then for each order an `Answer`
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
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from agent.sandbox.judge import judge
from agent.sandbox.program import candidate
from agent.sandbox.walls import adaptation, command, jail, kernel, mappings, pages, probe
from agent.sandbox.walls.identity import Identity, Impossible
from agent.sandbox.walls.jail import Allowance, Jail, Materials
from agent.sandbox.walls.orders import BROKEN, FAILED, MAX_MESSAGE, RESERVED, answer

# fmt: off
_PREIMPORTED = (
    "abc", "ast", "bisect", "collections", "collections.abc", "contextlib", "copy", "dataclasses", "datetime", "enum",
    "functools", "heapq", "inspect", "io", "itertools", "json", "math", "operator", "os", "random", "re", "string",
    "struct", "sys", "textwrap", "threading", "time", "traceback", "types", "typing", "unittest",
)
"""What many programs import and little else: each page and each mapped library costs every fork. `asyncio`, `hashlib`
and the like would double that; a program that wants them imports them in some 20 ms."""
# fmt: on
_exit = os._exit
"""As it is before a program can change it."""


def run(candidates: socket.socket, judges: socket.socket, identity: Identity) -> None:
    """Build the jail and fork to order until the worker is gone, in this process for candidates and all that is no
    judge, and in a second one for judges; returns then, in both. Where they may, these and what they fork are scheduled
    as batch work: none takes the core from another, or from the server, the moment that it is woken."""
    for name in _PREIMPORTED:
        importlib.import_module(name)
    procfs = os.open("/proc", os.O_PATH | os.O_CLOEXEC)
    mappings.join(procfs)
    mappings.gather(procfs)
    mappings.enlarge(procfs)
    walls = _build(candidates, identity)
    if walls is None:
        return
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    site.setquit()
    sys.path.extend(walls.packages)
    candidate.settle()
    pages.make_room_for_names()
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
    baseline_bytes = _introduce(orders, walls, procfs)
    walls.settle()
    kernel.die_with_parent(signal.SIGKILL)
    areas = pages.areas(procfs)
    while True:
        order, fds, _, _ = socket.recv_fds(orders, MAX_MESSAGE, RESERVED)
        if not order:
            return
        if areas and (told := marshal.loads(order))["role"] == "seal":
            areas = []
            os.close(procfs)
            _seal(told["pages"], told["core"], walls)
            answer(orders, 0, "", order)
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
        answer(orders, pid, scratch, order)


def _build(worker: socket.socket, identity: Identity) -> Jail | None:
    """The jail that the worker asks for; None where it has ended, or is told what is missing."""
    told = worker.recv(MAX_MESSAGE)
    if not told:
        return None
    wanted = marshal.loads(told)
    try:
        return jail.build(wanted["tier"], identity, Materials(**wanted["materials"]))
    except Impossible as error:
        worker.send(marshal.dumps({"missing": error.missing}))
        return None


def _introduce(orders: socket.socket, walls: Jail, procfs: int) -> int:
    """Tell the worker of this process; returns the bytes of its address space."""
    with open(os.open("self/statm", os.O_RDONLY, dir_fd=procfs), encoding="ascii") as memory:  # noqa: PTH123
        total, resident, *_ = map(int, memory.read().split())
    page = os.sysconf("SC_PAGE_SIZE")
    about = {"tier": walls.name, "features": walls.features, "resident_mb": resident * page / (1 << 20)}
    socket.send_fds(orders, [marshal.dumps(about)], pages.pagemap(procfs))
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
        os.closerange(len(fds), 1 << 20)
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
        _exit(status)
