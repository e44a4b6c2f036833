"""A worker process as the server sees it: start, orders, exit reports, death."""

from __future__ import annotations

import asyncio
import contextlib
import marshal
import os
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from agent.errors import IsolationUnavailable
from agent.sandbox.contract import Isolation
from agent.sandbox.walls import scratch
from agent.sandbox.walls.command import Command
from agent.sandbox.walls.jail import Materials
from agent.sandbox.walls.orders import MAX_MESSAGE
from agent.sandbox.walls.probe import Bait
from agent.sandbox.wire import frames
from agent.sandbox.wire.codec import Malformed

_ROOT = str(Path(__file__).resolve().parents[2])
_START = "import sys; sys.path.append(sys.argv[2]); from agent.sandbox.walls.start import main; main(int(sys.argv[1]))"
_ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/tmp",
    "TMPDIR": "/tmp",
    "LC_ALL": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
}
_START_SECONDS = 60.0
_REMOVALS, _REMOVAL_SECONDS = 50, 0.02
_TEMPLATES = 2
MARK_SECONDS = 0.05
"""Limits per test are exact to this; what a test may use is longer by it."""


class WorkerLost(Exception):
    """The worker process ended or broke its protocol; says nothing about the program it ran."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How one jailed process ended, measured by its parent."""

    status: int
    """Exit status, or minus the signal that ended it."""
    cpu: float
    """Seconds of CPU, user and system."""
    peak_mb: float
    """Largest resident memory above what it started with; of a command, which keeps nothing of that, all of it."""
    reason: str | None
    """Limit that was exceeded, `killed` on order, or None if it ended by itself."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a jailed process is started with; times in seconds."""

    role: str
    """`candidate`, `judge` or `command`."""
    memory_mb: int
    cpu: float
    wall: float
    test_cpu: float
    test_wall: float
    command: Command | None = None
    """For the role of that name."""

    def told(self) -> dict[str, Any]:
        """As the worker is told."""
        told = {field: getattr(self, field) for field in self.__slots__}
        return told if self.command is None else {**told, "command": asdict(self.command)}


class WorkerProcess:
    """One worker. Made by `start`."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        control: socket.socket,
        errors: IO[bytes],
        folder: str | None,
        core: int | None,
    ) -> None:
        self._process = process
        self._folder = folder
        self._control = control
        self._errors = errors
        self._loop = asyncio.get_running_loop()
        self._hello: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        self._templates: tuple[socket.socket, ...] = ()
        """Of programs and of judges."""
        self._children: dict[tuple[int, str], asyncio.Future[Exit]] = {}
        self._sessions = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._last_words = ""
        self._marked = 0.0
        self._overrun = 0
        self.core = core
        self.lost = False
        self.runs = 0
        self._loop.add_reader(control.fileno(), self._read)

    @classmethod
    async def start(
        cls,
        tier: str,
        bait: Bait,
        *,
        starts_processes: bool = False,
        tools: Sequence[str] = (),
        core: int | None = None,
    ) -> tuple[WorkerProcess, Isolation]:
        """A worker of `tier` (`A` or `B`) whose walls have been probed; with `starts_processes` its programs may fork
        and execute what the jail shows, `tools` among it. Short programs run on `core`. Raises IsolationUnavailable."""
        folder = _folder_of_folders() if tier == "B" else None
        worker = cls(*_launch(), folder, core)
        try:
            materials = _materials(folder, starts_processes=starts_processes, tools=tools)
            about = {"tier": tier, "bait": asdict(bait), "materials": asdict(materials), "core": core}
            worker._tell(worker._control, {"server": os.getpid(), **about})
            hello = await asyncio.wait_for(worker._hello, _START_SECONDS)
            if hello["missing"]:
                raise IsolationUnavailable(tuple(hello["missing"]))
        except (WorkerLost, TimeoutError) as error:
            said = worker._said()
            await worker.aclose()
            raise IsolationUnavailable((f"the worker did not start ({type(error).__name__}): {said}",)) from None
        except BaseException:
            await worker.aclose()
            raise
        return worker, Isolation(tier=hello["tier"], features=tuple(hello["features"]), missing=())

    @property
    def pid(self) -> int:
        """Process id of the worker's outermost process."""
        return self._process.pid

    def open_session(self) -> int:
        """A number that no process of this worker has had."""
        self._sessions += 1
        return self._sessions

    def spawn(self, session: int, order: Order, fds: Sequence[int]) -> asyncio.Future[Exit]:
        """Start a jailed process with `fds` as its descriptors 0 to 4; the caller closes its own copies. The future
        ends with its exit or with WorkerLost. Raises WorkerLost."""
        future: asyncio.Future[Exit] = self._loop.create_future()
        for_programs, for_judges = self._templates
        self._tell(for_judges if order.role == "judge" else for_programs, {"id": session, **order.told()}, fds)
        self._children[session, order.role] = future
        self._quiet.clear()
        self._marked = time.monotonic()
        return future

    def mark(self, session: int) -> None:
        """Start the per-test clocks of a session anew. Where they have run for less than `MARK_SECONDS` they go on: to
        tell the worker would cost more than most tests do. Raises WorkerLost."""
        now = time.monotonic()
        if now - self._marked >= MARK_SECONDS:
            self._marked = now
            self._tell(self._control, {"op": "mark", "id": session})

    def overran(self, session: int) -> bool:
        """Whether a process of the session has exceeded a limit. The worker says so before the process can notice, so
        what the process sent after that is known to be late."""
        self._read()
        return self._overrun == session

    def kill(self, session: int, role: str | None = None) -> None:
        """Kill the processes of a session, or the one in `role`. Nothing happens where they are gone."""
        with contextlib.suppress(WorkerLost):
            self._tell(self._control, {"op": "kill", "id": session, **({"role": role} if role else {})})

    def lives(self) -> bool:
        """Whether the worker has not ended, as far as can be known by now."""
        self._read()
        return not self.lost

    @property
    def is_quiet(self) -> bool:
        """Whether no jailed process of this worker is left."""
        return self._quiet.is_set() and not self.lost

    async def quiet(self, seconds: float) -> bool:
        """Whether, after at most `seconds`, no jailed process of this worker is left."""
        try:
            await asyncio.wait_for(self._quiet.wait(), seconds)
        except TimeoutError:
            return False
        return not self.lost

    async def aclose(self) -> None:
        """Kill the worker with everything below it and wait for its end."""
        self._lose("closed")
        await asyncio.to_thread(self._process.wait)
        if self._folder is not None:
            await asyncio.to_thread(_remove, self._folder)
            self._folder = None

    def _tell(self, whom: socket.socket, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
        if self.lost:
            raise WorkerLost("the worker has ended")
        try:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", fds))] if fds else []
            whom.sendmsg([marshal.dumps(message)], rights, socket.MSG_DONTWAIT)
        except OSError as error:
            self._lose(str(error))
            raise WorkerLost(str(error)) from None

    def _read(self) -> None:
        """Handle the reports that have come."""
        while not self.lost:
            try:
                data = self._receive()
            except BlockingIOError:
                return
            except OSError as error:
                self._lose(str(error))
                return
            if not data:
                self._lose("the worker ended")
                return
            try:
                self._handle(frames.unpack(data[frames.HEADER.size :]))
            except (Malformed, KeyError, TypeError) as error:
                self._lose(f"unexpected report: {error!r}")

    def _receive(self) -> bytes:
        """The next report; the first brings the sockets to the templates. Raises OSError."""
        if self._templates:
            return self._control.recv(MAX_MESSAGE)
        data, fds, _, _ = socket.recv_fds(self._control, MAX_MESSAGE, _TEMPLATES)
        for fd in fds:
            os.set_inheritable(fd, False)
        self._templates = tuple(socket.socket(fileno=fd) for fd in fds)
        return data

    def _handle(self, event: dict[str, Any]) -> None:
        if event["event"] == "hello":
            if not event["missing"] and len(self._templates) != _TEMPLATES:
                event["missing"] = ["open files: raise the limit of this process (ulimit -n)"]
            if not self._hello.done():
                self._hello.set_result(event)
            return
        if event["event"] == "limit":
            self._overrun = event["id"]
            return
        future = self._children.pop((event["id"], event["role"]))
        if not self._children:
            self._quiet.set()
        if future.done():
            return
        if event["event"] == "exit":
            future.set_result(Exit(event["status"], event["cpu"], event["peak_mb"], event["reason"]))
        else:
            future.set_exception(WorkerLost(f"no process could be started: {event['message']}"))

    def _lose(self, message: str) -> None:
        if self.lost:
            return
        self.lost = True
        self._loop.remove_reader(self._control.fileno())
        for connection in (self._control, *self._templates):
            connection.close()
        self._process.kill()
        self._last_words = self._said()
        self._errors.close()
        waiting: list[asyncio.Future[Any]] = [self._hello, *self._children.values()]
        for future in waiting:
            if not future.done():
                future.set_exception(WorkerLost(message))
                future.exception()
        self._children.clear()
        self._quiet.set()

    def _said(self) -> str:
        if self._errors.closed:
            return self._last_words
        self._errors.seek(0)
        return self._errors.read()[-2000:].decode("utf-8", "replace").strip() or "no message"


def _launch() -> tuple[subprocess.Popen[bytes], socket.socket, IO[bytes]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
    with theirs:
        process = subprocess.Popen(
            [_executable(), "-S", "-P", "-X", "utf8", "-c", _START, str(theirs.fileno()), _ROOT],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=_ENVIRONMENT,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )
    ours.setblocking(False)
    return process, ours, errors


def _executable() -> str:
    base: str | None = getattr(sys, "_base_executable", None)
    return str(Path(base or sys.executable).resolve())


def _folder_of_folders() -> str:
    """A new folder for the private folders of a worker's processes."""
    memory_backed = "/dev/shm"
    made = scratch.make(memory_backed if os.access(memory_backed, os.W_OK | os.X_OK) else tempfile.gettempdir(), None)
    Path(made).chmod(0o711)
    return made


def _remove(folder: str) -> None:
    """Remove the folder of a worker that has ended; what it ran ends at about the same time."""
    for _ in range(_REMOVALS):
        try:
            scratch.clear(folder)
        except OSError:
            time.sleep(_REMOVAL_SECONDS)
        else:
            return
    scratch.clear(folder)


def _materials(folder: str | None, *, starts_processes: bool, tools: Sequence[str]) -> Materials:
    folders = dict.fromkeys((sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))
    site = [path for path in folders if Path(path).is_dir()]
    prefix = [] if sys.base_prefix in ("/", "/usr", "/usr/local") else [sys.base_prefix]
    return Materials(
        interpreter=[*prefix, _executable()],
        packages=site,
        scratch=folder or "",
        starts_processes=starts_processes,
        tools=tools,
    )


def make_bait(port: int, file: str) -> Bait:
    """What the probes of a worker try to reach in this process."""
    variable = next((name for name in os.environ if name not in _ENVIRONMENT), "BURNISH_CANARY")
    return Bait(port=port, file=file, pid=os.getpid(), variable=variable, version=sys.version, prefix=sys.base_prefix)
