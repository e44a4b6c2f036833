"""The zygote: a warm interpreter inside the base jail that forks one process per program and per judge.

It never sees a program, a test or an output: those travel over sockets and pipes that the server makes and this process
only hands on. It watches clocks, kills and reports. One SEQPACKET socket leads to the server; when that closes the
process ends, and every process below it dies with its pid namespace.

    server -> worker   {"op": "spawn", "id", "role", limits...} with five descriptors; {"op": "mark", "id"} starts a
                       test's clocks; {"op": "kill", "id"}
    worker -> server   {"event": "hello", ...} once; {"event": "exit", "id", "role", "status", "cpu", "peak_mb",
                       "reason"} per process; {"event": "failed", "id", "role", "message"}

Standard library only.
"""

from __future__ import annotations

import fcntl
import gc
import importlib
import json
import os
import random
import select
import signal
import socket
import sys
import time
import traceback
from dataclasses import dataclass
from typing import Any

from agent.sandbox import candidate, codec, jail, judge, kernel

MAX_MESSAGE = 65536
_TICK = 0.01
_LAST_WORDS_CPU = 0.02
_LAST_WORDS_WALL = 0.5
"""A process asked for its stack has had the time to tell it after so many seconds of CPU, or of waiting."""
_CLOSED_FROM = 5

# fmt: off
_PREIMPORTED = (
    "abc", "argparse", "array", "ast", "asyncio", "base64", "bisect", "calendar", "cmath", "collections",
    "collections.abc", "contextlib", "copy", "csv", "dataclasses", "datetime", "_strptime", "decimal", "difflib",
    "enum", "fractions", "functools", "hashlib", "heapq", "html", "inspect", "io", "itertools", "json", "logging",
    "math", "numbers", "operator", "os", "pathlib", "pprint", "queue", "random", "re", "secrets", "shutil",
    "statistics", "string", "struct", "sys", "tempfile", "textwrap", "threading", "time", "traceback", "types",
    "typing", "unicodedata", "unittest", "unittest.mock", "uuid", "zlib", "concurrent.futures",
    "concurrent.futures.thread",
)
# fmt: on


@dataclass(slots=True)
class _Child:
    id: int
    role: str
    pid: int
    pidfd: int
    baseline_mb: float
    started: float
    cpu: float
    wall: float
    test_cpu: float
    test_wall: float
    mark_cpu: float = 0.0
    mark_wall: float = 0.0
    reason: str | None = None
    kill_at: float | None = None
    kill_cpu: float = 0.0

    @property
    def clock(self) -> float:
        """CPU seconds used so far; 0 once the process is gone."""
        try:
            return time.clock_gettime((~self.pid << 3) | 2)
        except OSError:
            return 0.0

    def exceeded(self, now: float) -> str | None:
        used = self.clock
        if used - self.mark_cpu > self.test_cpu:
            return "test_cpu"
        if used > self.cpu:
            return "cpu"
        if now - self.mark_wall > self.test_wall:
            return "test_wall"
        return "wall" if now - self.started > self.wall else None


def main(control_fd: int) -> None:
    """Entry of a worker process started by the server; returns when the server is gone."""
    control = socket.socket(fileno=control_fd)
    config: dict[str, Any] = json.loads(control.recv(MAX_MESSAGE))
    kernel.die_with_parent(signal.SIGKILL)
    if os.getppid() != config["server"]:
        return
    try:
        identity = jail.unshare_base()
        pid = os.fork()
        if pid != 0:
            control.close()
            os.waitpid(pid, 0)
            return
        kernel.die_with_parent(signal.SIGKILL)
        _serve_inside(control, identity, config)
    except jail.Impossible as error:
        _send(control, {"event": "hello", "missing": [error.missing]})
    except (BrokenPipeError, ConnectionResetError):
        return


def _serve_inside(control: socket.socket, identity: jail.Identity, config: dict[str, Any]) -> None:
    for name in _PREIMPORTED:
        importlib.import_module(name)
    pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    memory = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    sys.path.extend(jail.build_tree(config["interpreter"], config["packages"]))
    kernel.empty_bounding_set()
    time.strptime("2000", "%Y")
    candidate.settle()
    gc.collect()
    gc.freeze()
    zygote = _Zygote(control, identity, pid_namespace, memory)
    broken = zygote.probe(jail.Bait(**config["bait"]))
    _send(
        control,
        {
            "event": "hello",
            "missing": [f"the wall for {name!r} does not hold: a probe got through" for name in broken],
            "mode": identity.mode,
            "version": sys.version,
        },
    )
    zygote.serve()


class _Zygote:
    def __init__(self, control: socket.socket, identity: jail.Identity, pid_namespace: int, memory: int) -> None:
        self._control = control
        self._identity = identity
        self._pid_namespace = pid_namespace
        self._memory = memory
        self._children: dict[int, _Child] = {}
        self._poller = select.poll()
        self._poller.register(control, select.POLLIN)

    def serve(self) -> None:
        """Fork, watch and report until the server closes its end."""
        while True:
            for fd, _ in self._poller.poll(_TICK * 1000 if self._children else None):
                if fd == self._control.fileno():
                    if not self._obey():
                        return
                elif fd in self._children:
                    self._reap(self._children[fd])
            now = time.monotonic()
            for child in list(self._children.values()):
                self._watch(child, now)

    def probe(self, bait: jail.Bait) -> list[str]:
        """Walls that a confined process got through."""
        reader, writer = os.pipe()
        size, _ = self._sizes()
        pid = self._fork()
        if pid == 0:
            try:
                allowance = jail.Allowance(memory_bytes=1 << 30, cpu_seconds=20, processes=False)
                jail.confine(self._identity, self._identity.candidate, allowance, size)
                os.write(writer, json.dumps(jail.probe(bait)).encode())
            except BaseException as error:
                os.write(writer, json.dumps([f"confinement ({type(error).__name__}: {error})"]).encode())
            finally:
                os._exit(0)
        os.close(writer)
        told = os.read(reader, MAX_MESSAGE)
        os.close(reader)
        os.waitpid(pid, 0)
        return list(json.loads(told)) if told else ["exec"]

    def _obey(self) -> bool:
        message, fds, _, _ = socket.recv_fds(self._control, MAX_MESSAGE, 8)
        if not message:
            return False
        order = json.loads(message)
        if order["op"] == "spawn":
            self._spawn(order, fds)
            return True
        now = time.monotonic()
        for child in self._children.values():
            if child.id != order["id"]:
                continue
            if order["op"] == "mark":
                child.mark_cpu, child.mark_wall = child.clock, now
            elif order["op"] == "kill" and order.get("role", child.role) == child.role:
                child.reason = child.reason or "killed"
                os.kill(child.pid, signal.SIGKILL)
        return True

    def _spawn(self, order: dict[str, Any], fds: list[int]) -> None:
        size, resident_mb = self._sizes()
        try:
            pid = self._fork()
        except OSError as error:
            _send(self._control, {"event": "failed", "id": order["id"], "role": order["role"], "message": str(error)})
            for fd in fds:
                os.close(fd)
            return
        if pid == 0:
            self._become(order, fds, size)
        for fd in fds:
            os.close(fd)
        now = time.monotonic()
        child = _Child(
            id=order["id"],
            role=order["role"],
            pid=pid,
            pidfd=os.pidfd_open(pid),
            baseline_mb=resident_mb,
            started=now,
            mark_wall=now,
            **{name: order[name] for name in ("cpu", "wall", "test_cpu", "test_wall")},
        )
        self._children[child.pidfd] = child
        self._poller.register(child.pidfd, select.POLLIN)

    def _fork(self) -> int:
        """Fork into a fresh pid namespace; the one for children must be the own before another can be made."""
        kernel.setns(self._pid_namespace, kernel.CLONE_NEWPID)
        kernel.unshare(kernel.CLONE_NEWPID)
        return os.fork()

    def _become(self, order: dict[str, Any], fds: list[int], size: int) -> None:
        """In the child: close, confine, and run what was asked for. Does not return."""
        status = 120
        try:
            self._control.detach()
            high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 64) for fd in fds]
            for number, fd in enumerate(high):
                os.dup2(fd, number)
            os.closerange(_CLOSED_FROM, 1 << 20)
            uid = self._identity.candidate if order["role"] == "candidate" else self._identity.judge
            allowance = jail.Allowance(
                memory_bytes=order["memory_mb"] << 20, cpu_seconds=int(order["cpu"]) + 2, processes=order["processes"]
            )
            jail.confine(self._identity, uid, allowance, size)
            self._children.clear()
            os.write(3 if order["role"] == "candidate" else 4, codec.pack({"ready": True}))
            random.seed(0)
            status = candidate.run(3, 4) if order["role"] == "candidate" else judge.run(3, 4)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)

    def _watch(self, child: _Child, now: float) -> None:
        if child.kill_at is not None:
            if now >= child.kill_at or child.clock >= child.kill_cpu:
                os.kill(child.pid, signal.SIGKILL)
        elif child.reason is None:
            child.reason = child.exceeded(now)
            if child.reason is not None:
                child.kill_at, child.kill_cpu = now + _LAST_WORDS_WALL, child.clock + _LAST_WORDS_CPU
                os.kill(child.pid, signal.SIGUSR2)

    def _reap(self, child: _Child) -> None:
        _, status, usage = os.wait4(child.pid, 0)
        self._poller.unregister(child.pidfd)
        os.close(child.pidfd)
        del self._children[child.pidfd]
        _send(
            self._control,
            {
                "event": "exit",
                "id": child.id,
                "role": child.role,
                "status": os.waitstatus_to_exitcode(status),
                "cpu": usage.ru_utime + usage.ru_stime,
                "peak_mb": max(0.0, usage.ru_maxrss / 1024 - child.baseline_mb),
                "reason": child.reason,
            },
        )

    def _sizes(self) -> tuple[int, float]:
        """Address space in bytes and resident memory in MB of this process."""
        total, resident, *_ = map(int, os.pread(self._memory, 200, 0).split())
        page = os.sysconf("SC_PAGE_SIZE")
        return total * page, resident * page / (1 << 20)


def _send(control: socket.socket, message: dict[str, Any]) -> None:
    control.send(json.dumps(message).encode())
