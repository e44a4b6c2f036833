"""The engine as a child process: started, watched, restarted after a crash, stopped, never left behind.

    stopped -> starting -> ready -> restarting -> ready ...      stop() leads to stopped from everywhere
                   \\__________________\\-> failed               start() tries again

Fetching the model is part of starting. The process lives in a session of its own, so that Ctrl-C reaches the server
alone, and on a tether (`tether.py`), so that it ends with the server however that ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import httpx

from server.engine.child import tethered
from server.engine.errors import EngineFailed, LocalEngineError
from server.engine.last_words import cause, last_words
from server.engine.library import LocalModel, ensure_model
from server.engine.link import Readiness
from server.engine.settings import DEFAULT_MODEL, SMALL_MODEL, EngineSettings
from server.engine.sources import Progress, Report
from server.engine.vllm import Launch, launch

_log = logging.getLogger("burnish.engine")

_LOG_LIMIT = 16 * 2**20


class EngineState(StrEnum):
    """What the engine is doing."""

    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Patience:
    """Times and counts of the watch over the process."""

    poll_s: float = 0.25
    """Between looks at a process that is starting."""
    watch_s: float = 5.0
    """Between looks at a process that is ready."""
    silent_s: float = 120.0
    """A ready engine whose /health gives no good answer for so long is killed and restarted."""
    backoff_s: tuple[float, ...] = (1, 2, 4, 8, 16, 30)
    """Before the first, second, … restart in a row."""
    settled_s: float = 120.0
    """An engine that was ready for so long has recovered: its earlier crashes are forgotten."""
    first_crashes: int = 2
    """Crashes after which an engine that has never been ready is given up: its start would fail again."""
    crashes: int = 6
    """Crashes in a row after which an engine that has been ready is given up."""
    grace_s: float = 10.0
    """Between SIGTERM and SIGKILL."""
    usual_start_s: float = 60.0
    """Guess until a start has been measured."""


class GetModel(Protocol):
    """Finds or fetches the model; blocking, called in a thread."""

    def __call__(self, settings: EngineSettings, models_dir: Path, report: Report) -> LocalModel:
        """Raises LocalEngineError, and whatever `report` raises."""
        ...


LaunchFor = Callable[[LocalModel, EngineSettings, int], Launch]
"""The command that serves a model on a port."""
Prepare = Callable[[], Awaitable[None]]
"""Called whenever a process answers, before it counts as ready: the place to load adapters again. Must not raise."""


class ManagedEngine:
    """One vLLM process and the model it serves."""

    def __init__(
        self,
        settings: EngineSettings,
        data_dir: Path,
        *,
        prepare: Prepare | None = None,
        get_model: GetModel | None = None,
        launch_for: LaunchFor = launch,
        patience: Patience | None = None,
    ) -> None:
        self._settings = settings
        self._models_dir = data_dir / "models"
        self._prepare = prepare
        self._get_model = get_model or configured_model
        self._launch_for = launch_for
        self._patience = patience or Patience()
        self._port = _free_port()
        self._run: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._since = time.monotonic()
        self._log_start = 0
        self._start_s = self._patience.usual_start_s
        self.log_path = data_dir / "logs" / "engine.log"
        self.state = EngineState.STOPPED
        self.detail = "the engine is not started"
        self.error: LocalEngineError | None = None
        """Why the state is failed."""
        self.model: LocalModel | None = None
        """Known once it has been found or fetched."""
        self.pid: int | None = None
        """Of the process that holds the engine's tether; also its process group."""

    @property
    def url(self) -> str:
        """Base URL without `/v1`, the same for the object's whole life."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def model_name(self) -> str:
        """The name under which the base model is served, as far as it is known yet."""
        if self.model is not None:
            return self.model.name
        local = Path(self._settings.model).expanduser()
        return local.name.removesuffix(".gguf") if local.exists() else self._settings.model

    def readiness(self) -> Readiness:
        """Whether requests can be sent now, what is being done otherwise and when to ask again."""
        if self.state is EngineState.READY:
            return Readiness(True)
        if self.state in (EngineState.STOPPED, EngineState.FAILED):
            return Readiness(False, self.detail, 120.0)
        waited = time.monotonic() - self._since
        return Readiness(False, f"{self.detail} ({waited:.0f} s so far)", max(2.0, self._start_s - waited))

    async def start(self) -> None:
        """Begin to fetch, start and watch; returns at once. Failures show in `state` and in `wait_ready`."""
        if self._run is not None and not self._run.done():
            return
        self.error = None
        self._become(EngineState.STARTING, "the engine is starting")
        self._run = asyncio.create_task(self._keep_up(), name="engine")

    async def wait_ready(self) -> LocalModel:
        """Return when the engine is ready. Raises LocalEngineError if it failed or was stopped."""
        while True:
            if self.state is EngineState.READY and self.model is not None:
                return self.model
            if self.state is EngineState.FAILED:
                raise self.error or EngineFailed(self.detail)
            if self.state is EngineState.STOPPED:
                raise EngineFailed(self.detail)
            self._changed.clear()
            await self._changed.wait()

    async def stop(self) -> None:
        """End the process and the watch; nothing of it runs any more when this returns."""
        if self._run is not None:
            self._run.cancel()
            await asyncio.wait([self._run])
            self._run = None
        self._become(EngineState.STOPPED, "the engine is stopped")

    async def _keep_up(self) -> None:
        try:
            self.model = await self._fetch()
            await self._serve(self.model)
        except LocalEngineError as error:
            self.error = error
            _log.error("%s", error)
            self._become(EngineState.FAILED, str(error).splitlines()[0])
        except Exception as error:
            self.error = EngineFailed(f"the engine's keeper failed: {error!r}")
            _log.exception("the engine's keeper failed")
            self._become(EngineState.FAILED, str(self.error))

    async def _fetch(self) -> LocalModel:
        stopping = False
        last_log = 0.0

        def report(progress: Progress) -> None:
            nonlocal last_log
            if stopping:
                raise _Stopped
            size = f" {progress.done / 1e6:.0f} of {progress.total / 1e6:.0f} MB" if progress.total else ""
            text = f"{progress.text}{size}"
            if progress.stage != "note":
                self.detail = f"the model is being fetched: {text}"
            if progress.stage == "note" or time.monotonic() - last_log > 10:
                last_log = time.monotonic()
                _log.info("%s", text)

        work = asyncio.create_task(asyncio.to_thread(self._get_model, self._settings, self._models_dir, report))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            stopping = True
            with contextlib.suppress(_Stopped, LocalEngineError):
                await work
            raise

    async def _serve(self, model: LocalModel) -> None:
        """Run the process again and again. Raises EngineFailed when it is hopeless, EnvironmentMissing."""
        crashes, was_ready = 0, False
        while True:
            ready_s = await self._run_once(model)
            was_ready = was_ready or ready_s is not None
            crashes = 1 if ready_s is not None and ready_s > self._patience.settled_s else crashes + 1
            words = last_words(self.log_path, self._log_start)
            if crashes >= (self._patience.crashes if was_ready else self._patience.first_crashes):
                told = cause(words) or "it does not say why"
                message = (
                    f"the engine ended {crashes} times in a row and is given up: {told}; its log is {self.log_path}"
                )
                raise EngineFailed(message, "\n".join(words))
            pause = self._patience.backoff_s[min(crashes, len(self._patience.backoff_s)) - 1]
            _log.warning("the engine ended unexpectedly; restart in %.0f s; it said last:\n%s", pause, "\n".join(words))
            self._become(EngineState.RESTARTING, "the engine ended unexpectedly and is restarted")
            await asyncio.sleep(pause)

    async def _run_once(self, model: LocalModel) -> float | None:
        """Start the process and watch it until it ends. How long it was ready, None if never."""
        plan = self._launch_for(model, self._settings, self._port)
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        _rotate(self.log_path)
        began = time.monotonic()
        self.detail = f"the engine is loading {model.name}"
        with self.log_path.open("ab") as log:
            log.write(f"--- {time.strftime('%F %T')} {' '.join(plan.command)}\n".encode())
            log.flush()
            self._log_start = log.tell()
            process = await asyncio.create_subprocess_exec(
                *tethered(plan.command, self._patience.grace_s),
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, **plan.env},
                start_new_session=True,
            )
        self.pid = process.pid
        ready_at: float | None = None
        try:
            async with httpx.AsyncClient(base_url=self.url, trust_env=False) as client:
                if await self._becomes_ready(process, client, model, began):
                    ready_at = time.monotonic()
                    self._start_s = ready_at - began
                    _log.info("the engine serves %s at %s after %.0f s", model.name, self.url, self._start_s)
                    self._become(EngineState.READY, "")
                    await self._watch(process, client)
        finally:
            await asyncio.shield(self._end(process))
            self.pid = None
        return None if ready_at is None else time.monotonic() - ready_at

    async def _becomes_ready(
        self, process: asyncio.subprocess.Process, client: httpx.AsyncClient, model: LocalModel, began: float
    ) -> bool:
        """Wait for a healthy answer, then for one real token. False if the process ends or takes too long."""
        body = {"model": model.name, "prompt": "1", "max_tokens": 1, "temperature": 0}
        while process.returncode is None and time.monotonic() - began < self._settings.start_timeout_s:
            await asyncio.sleep(self._patience.poll_s)
            if not await _healthy(client):
                continue
            try:
                answer = await client.post("/v1/completions", json=body, timeout=60)
            except httpx.HTTPError:
                continue
            if answer.status_code == 200:
                if self._prepare is not None:
                    await self._prepare()
                return True
            _log.warning("the engine refuses its first request: %s %s", answer.status_code, answer.text[:300])
        return False

    async def _watch(self, process: asyncio.subprocess.Process, client: httpx.AsyncClient) -> None:
        """Return when the process has ended or has been silent for too long."""
        heard = time.monotonic()
        while process.returncode is None and time.monotonic() - heard < self._patience.silent_s:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), self._patience.watch_s)
            if process.returncode is None and await _healthy(client):
                heard = time.monotonic()

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        """Close the tether and wait; then kill what may be left of the group."""
        if process.stdin is not None:
            process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), self._patience.grace_s + 10)
        except TimeoutError:
            _log.error("the engine's tether does not end; killing its group")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()

    def _become(self, state: EngineState, detail: str) -> None:
        if state is not self.state:
            self._since = time.monotonic()
        self.state, self.detail = state, detail
        self._changed.set()


def configured_model(settings: EngineSettings, models_dir: Path, report: Report) -> LocalModel:
    """The model of the settings; the small one stands in for the default one, never for a model that was asked for."""
    last_resort = SMALL_MODEL if settings.model == DEFAULT_MODEL else None
    return ensure_model(settings.model, models_dir, settings.interpreter(), report, last_resort=last_resort)


class _Stopped(Exception):
    """The engine is stopped while its model is being fetched."""


async def _healthy(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/health", timeout=10)).status_code == 200
    except httpx.HTTPError:
        return False


def _free_port() -> int:
    """A port nobody listens on, below the range from which systems take ports for outgoing connections."""
    while True:
        port = random.randrange(18_000, 28_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _rotate(log: Path) -> None:
    if log.exists() and log.stat().st_size > _LOG_LIMIT:
        log.replace(log.with_suffix(".log.1"))
