"""The worker: watches, kills and reports the processes forked from its templates.

It never sees a program, a test or an output: those travel over sockets and pipes that the server makes and hands to the
template. One SEQPACKET socket leads to the server; when that closes the process ends, and every process below it dies
with its pid namespace.

    server -> worker   marshalled: {"op": "mark", "id"} starts a test's clocks; {"op": "kill", "id"}, where there is a
                       "role" of the process in that role alone. Either may come before the template has told of the
                       process that it is about
    worker -> server   in frames: {"event": "hello", ...} once, with the sockets to the templates of programs and of
                       judges; {"event": "limit", "id", "role"} before a process learns that it has exceeded a limit;
                       {"event": "exit", "id", "role", "status", "cpu", "peak_mb", "reason"} per process; {"event":
                       "failed", "id", "role", "message"}

Standard library only.
"""

from __future__ import annotations

import json
import marshal
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from agent.sandbox.walls import identity, pages, rehearsal, scratch
from agent.sandbox.walls.orders import MAX_MESSAGE, Answer
from agent.sandbox.walls.watch import BusyClock, WallClock, Watched
from agent.sandbox.wire import frames

_TICK = 0.01
_SHORT = 0.01
"""Seconds of CPU after which a process is no longer kept on the core of its worker."""
_MOST_PAGES = 4096
"""That are copied at a fork: what a message holds, and more than any run writes to."""
_LAST_WORDS_CPU = 0.02
_LAST_WORDS_WALL = 0.5
"""A process asked for its stack has had the time to tell it after so many seconds of CPU, or of waiting."""


def run(
    control: socket.socket, candidates: socket.socket, judges: socket.socket, config: dict[str, Any], load: int
) -> None:
    """Have the templates build their jail, show that its walls hold, and serve until the server closes its end. Raises
    Impossible."""
    about = {"tier": config["tier"], "materials": config["materials"]}
    candidates.send(marshal.dumps(about))
    templates = _Template(candidates), _Template(judges)
    starts_none = not config["materials"]["starts_processes"]
    clock = BusyClock(load) if starts_none or config["materials"]["tools"] else WallClock()
    worker = _Worker(control, *templates, clock)
    worker.settle(config["core"], rehearses=starts_none)
    broken = worker.probe(config["bait"])
    hello = {
        "event": "hello",
        "missing": [f"the wall for {name!r} does not hold: a probe got through" for name in broken],
        "tier": templates[0].tier,
        "features": templates[0].features,
        "version": sys.version,
    }
    socket.send_fds(control, [frames.pack(hello)], [candidates.fileno(), judges.fileno()])
    worker.serve()


class _Template:
    """One of the two processes that fork, as the worker sees it."""

    def __init__(self, orders: socket.socket) -> None:
        """Raises Impossible, BrokenPipeError."""
        self.orders = orders
        told, self._pagemap, _, _ = socket.recv_fds(orders, MAX_MESSAGE, 1)
        if not told:
            raise BrokenPipeError("a template has ended")
        about = marshal.loads(told)
        if "missing" in about:
            raise identity.Impossible(about["missing"])
        self.tier: str = about["tier"]
        self.features: tuple[str, ...] = about["features"]
        self.resident_mb: float = about["resident_mb"]

    def order(self, order: dict[str, Any], fds: Sequence[int] = ()) -> Answer:
        """The template's answer. Raises BrokenPipeError."""
        socket.send_fds(self.orders, [marshal.dumps(order)], list(fds))
        return Answer.receive(self.orders)

    def rehearse(self, play: Callable[[], list[int]]) -> list[int]:
        """Those of the template's pages that a process forked from it has written to when `play` ends; none where this
        kernel does not tell."""
        if not self._pagemap:
            return []
        (pagemap,) = self._pagemap
        written = play()
        return [page for page in written if pages.present(pagemap, page)][:_MOST_PAGES]

    def seal(self, shared: Sequence[int], core: int | None) -> None:
        """Make it ready to serve: with these pages copied at every fork, and on this core if any."""
        for fd in self._pagemap:
            os.close(fd)
        self.order({"role": "seal", "pages": shared, "core": core})


class _Worker:
    def __init__(self, control: socket.socket, candidates: _Template, judges: _Template, clock: WallClock) -> None:
        self._control = control
        self._candidates = candidates
        self._judges = judges
        self._clock = clock
        self._cores = os.sched_getaffinity(0)
        self._watched: dict[int, Watched] = {}
        self._session = 0
        self._said: dict[tuple[str, str | None], dict[str, Any]] = {}
        """What the server has said of the processes of this session."""
        self._templates = {template.orders.fileno(): template for template in (candidates, judges)}
        self._poller = select.poll()
        for fd in (control.fileno(), *self._templates):
            self._poller.register(fd, select.POLLIN)

    def serve(self) -> None:
        """Start, watch and report until the server closes its end."""
        looked = 0.0
        while True:
            for fd, _ in self._poller.poll(_TICK * 1000 if self._watched else None):
                if fd == self._control.fileno():
                    if not self._hear():
                        return
                elif fd in self._templates:
                    self._begin(Answer.receive(self._templates[fd].orders))
                elif fd in self._watched:
                    self._reap(self._watched[fd])
            if self._watched and time.monotonic() - looked >= _TICK / 2:
                looked, now = time.monotonic(), self._clock.now()
                for process in list(self._watched.values()):
                    self._watch(process, now)

    def settle(self, core: int | None, *, rehearses: bool) -> None:
        """Make the templates ready to serve, and keep them and this process on `core`, so that short runs find warm
        caches. What is not made for programs in Python does neither rehearse nor stay."""
        of_candidate: list[int] = []
        of_judge: list[int] = []
        may_spread = False
        if rehearses:
            of_candidate, of_judge, may_spread = self._rehearse()
        core = core if may_spread else None
        self._candidates.seal(of_candidate, core)
        self._judges.seal(of_judge, core)
        if core is not None:
            os.sched_setaffinity(0, {core})

    def _rehearse(self) -> tuple[list[int], list[int], bool]:
        """The pages to be copied for a program and for a judge, and whether this process may say where those run."""
        ended: list[Answer] = []

        def start(order: dict[str, Any], fds: Sequence[int]) -> None:
            ended.append(self._start(order, fds))

        of_judge = self._judges.rehearse(lambda: rehearsal.of_judge(start, start))
        of_candidate = self._candidates.rehearse(lambda: rehearsal.of_candidate(start))
        may_spread = True
        for started in ended:
            may_spread = self._spread(started.pid) and may_spread
            os.waitpid(started.pid, 0)
            _clear(started.scratch)
        return of_candidate, of_judge, may_spread

    def _spread(self, pid: int) -> bool:
        """Let a process run on every core; whether this one may say so."""
        try:
            os.sched_setaffinity(pid, self._cores)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return True

    def probe(self, bait: dict[str, Any]) -> list[str]:
        """Walls that a confined process got through."""
        reader, writer = os.pipe()
        null = os.open(os.devnull, os.O_RDWR)
        order = {"role": "probe", "bait": bait, "memory_mb": 1024, "cpu": 20}
        started = self._start(order, [null, null, 2, writer])
        os.close(writer)
        os.close(null)
        told = os.read(reader, MAX_MESSAGE)
        os.close(reader)
        os.waitpid(started.pid, 0)
        _clear(started.scratch)
        return list(json.loads(told)) if told else ["confinement"]

    def _start(self, order: dict[str, Any], fds: Sequence[int]) -> Answer:
        """A new process, before this one serves. Raises OSError."""
        answer = self._template(order["role"]).order(order, fds)
        if answer.pid < 0:
            raise OSError(-answer.pid, os.strerror(-answer.pid))
        return answer

    def _template(self, role: str) -> _Template:
        return self._judges if role == "judge" else self._candidates

    def _hear(self) -> bool:
        message = self._control.recv(MAX_MESSAGE)
        if not message:
            return False
        order = marshal.loads(message)
        if order["id"] != self._session:
            self._session, self._said = order["id"], {}
        self._said[order["op"], order.get("role")] = order
        for process in self._watched.values():
            self._obey(order, process)
        return True

    def _obey(self, order: dict[str, Any], process: Watched) -> None:
        if process.id != order["id"]:
            return
        if order["op"] == "mark":
            process.mark_cpu, process.mark_wall = process.clock, self._clock.now()
        elif order.get("role", process.role) == process.role:
            process.reason = process.reason or "killed"
            os.kill(process.pid, signal.SIGKILL)

    def _begin(self, answer: Answer) -> None:
        """Watch a process that a template has forked."""
        order = marshal.loads(answer.order)
        pid, about = answer.pid, {"id": order["id"], "role": order["role"]}
        if pid < 0:
            _clear(answer.scratch)
            _send(self._control, {"event": "failed", **about, "message": os.strerror(-pid)})
            return
        now = self._clock.now()
        limits = {name: order[name] for name in ("cpu", "wall", "test_cpu", "test_wall")}
        pidfd = os.pidfd_open(pid)
        process = Watched(**about, pid=pid, pidfd=pidfd, scratch=answer.scratch, started=now, mark_wall=now, **limits)
        self._watched[pidfd] = process
        self._poller.register(pidfd, select.POLLIN)
        for said in self._said.values():
            self._obey(said, process)

    def _watch(self, process: Watched, now: float) -> None:
        if process.kill_at is not None:
            if now >= process.kill_at or process.clock >= process.kill_cpu:
                os.kill(process.pid, signal.SIGKILL)
        elif process.reason is None:
            used = process.clock
            if used > _SHORT and not process.spread:
                process.spread = self._spread(process.pid)
            process.reason = process.exceeded(used, now)
            if process.reason is not None:
                _send(self._control, {"event": "limit", "id": process.id, "role": process.role})
                process.kill_at, process.kill_cpu = now + _LAST_WORDS_WALL, process.clock + _LAST_WORDS_CPU
                os.kill(process.pid, signal.SIGUSR2)

    def _reap(self, process: Watched) -> None:
        _, status, usage = os.wait4(process.pid, 0)
        inherited_mb = 0.0 if process.role == "command" else self._template(process.role).resident_mb
        self._poller.unregister(process.pidfd)
        os.close(process.pidfd)
        del self._watched[process.pidfd]
        _clear(process.scratch)
        _send(
            self._control,
            {
                "event": "exit",
                "id": process.id,
                "role": process.role,
                "status": os.waitstatus_to_exitcode(status),
                "cpu": usage.ru_utime + usage.ru_stime,
                "peak_mb": max(0.0, usage.ru_maxrss / 1024 - inherited_mb),
                "reason": process.reason,
            },
        )


def _clear(folder: str) -> None:
    """Remove what a process that has ended left behind, where it had a folder."""
    if folder:
        scratch.clear(folder)


def _send(control: socket.socket, message: dict[str, Any]) -> None:
    control.send(frames.pack(message))
