"""The template: a warm interpreter inside the jail that is forked for every program and every judge.

It does nothing else, because every page it writes to between two forks is copied: 2 to 3 microseconds each. The worker
(its parent) sends it orders and becomes the parent of what it forks. Standard library only.

    worker -> template   one datagram per process: the order, marshalled, with the descriptors 0 to 4 of the process
    template -> worker   once: sizes of the template (two uint64, bytes: address space, resident); then for each order
                         the number of the new process, or minus the errno of a failed fork (int32)
"""

from __future__ import annotations

import gc
import importlib
import json
import marshal
import os
import random
import site
import socket
import struct
import sys
import traceback
from typing import Any

from agent.sandbox.judge import judge
from agent.sandbox.program import candidate
from agent.sandbox.walls import command, probe
from agent.sandbox.walls.jail import Allowance, Jail

MAX_MESSAGE = 65536
SIZES = struct.Struct("QQ")
ANSWER = struct.Struct("i")
FAILED = 120
"""Exit status of a process that could not be confined."""
BROKEN = 121
"""Of one that was, and whose harness raised."""
RESERVED = 5
"""Descriptors that a jailed process gets; the template's own ones are higher."""

# fmt: off
_PREIMPORTED = (
    "abc", "ast", "bisect", "collections", "collections.abc", "contextlib", "copy", "dataclasses", "datetime", "enum",
    "functools", "heapq", "inspect", "io", "itertools", "json", "math", "operator", "os", "random", "re", "string",
    "struct", "sys", "textwrap", "threading", "time", "traceback", "types", "typing", "unittest",
)
"""What many programs import and little else: each page and each mapped library costs every fork. `asyncio`, `hashlib`
and the like would double that; a program that wants them imports them in some 20 ms."""
# fmt: on


def run(orders: socket.socket, walls: Jail, procfs: int) -> None:
    """Fork to order until the worker is gone; returns then. `procfs` is a descriptor of /proc."""
    memory = os.open("self/statm", os.O_RDONLY, dir_fd=procfs)
    for name in _PREIMPORTED:
        importlib.import_module(name)
    site.setquit()
    sys.path.extend(walls.packages)
    random.seed(0)
    judge.settle()
    candidate.settle()
    walls.settle()
    gc.collect()
    gc.freeze()
    total, resident, *_ = map(int, os.pread(memory, 200, 0).split())
    page = os.sysconf("SC_PAGE_SIZE")
    os.close(memory)
    os.close(procfs)
    orders.send(SIZES.pack(total * page, resident * page))
    while True:
        order, fds, _, _ = socket.recv_fds(orders, MAX_MESSAGE, RESERVED)
        if not order:
            return
        try:
            pid = walls.fork()
        except OSError as error:
            pid = -(error.errno or 1)
        if pid == 0:
            _become(marshal.loads(order), fds, walls, total * page)
        for fd in fds:
            os.close(fd)
        orders.send(ANSWER.pack(pid))


def _become(order: dict[str, Any], fds: list[int], walls: Jail, baseline_bytes: int) -> None:
    """In the new process: confine, close, and run what was asked for. Does not return."""
    status = FAILED
    try:
        wanted = order.get("command") or {}
        allowance = Allowance(
            memory_bytes=order["memory_mb"] << 20,
            cpu_seconds=int(order["cpu"]) + 2,
            counts_data=wanted.get("counts_data", False),
            forks=wanted.get("forks", True),
        )
        walls.confine(order["uid"], allowance, baseline_bytes, order["scratch"])
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
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)
