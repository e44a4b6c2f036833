"""The managed engine against a small real process: readiness, crashes, giving up, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from server.engine.child import tethered
from server.engine.errors import EngineFailed, ModelNotFound
from server.engine.library import LocalModel
from server.engine.process import EngineState, ManagedEngine, Patience
from server.engine.settings import EngineSettings
from server.engine.sources import Progress, Report
from server.engine.vllm import Launch

FAKE = Path(__file__).with_name("fake_vllm.py")
QUICK = Patience(poll_s=0.02, watch_s=0.05, silent_s=0.5, backoff_s=(0.05,), first_crashes=2, crashes=3, grace_s=1.0)


def tiny(settings: EngineSettings, models_dir: Path, report: Report) -> LocalModel:
    return LocalModel("tiny", models_dir / "tiny", "test", "sha256:0", 1024)


def fake_in(folder: Path) -> Callable[[LocalModel, EngineSettings, int], Launch]:
    return lambda model, settings, port: Launch([sys.executable, str(FAKE), str(port), str(folder)], {})


@asynccontextmanager
async def running(folder: Path, patience: Patience = QUICK) -> AsyncIterator[ManagedEngine]:
    engine = ManagedEngine(EngineSettings(), folder, get_model=tiny, launch_for=fake_in(folder), patience=patience)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


def pids(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "pids").read_text().split()]


def alive(pid: int) -> bool:
    """Running, not merely waiting for its parent to take note of its end."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


async def eventually(condition: Callable[[], bool], within_s: float = 10) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 (a process outside tells nobody)
            await asyncio.sleep(0.02)


async def test_it_becomes_ready_and_stops_without_a_trace(tmp_path: Path) -> None:
    async with running(tmp_path) as engine:
        assert not engine.readiness().ready
        model = await engine.wait_ready()
        assert model.name == engine.model_name == "tiny"
        assert engine.readiness().ready
        started = pids(tmp_path)
        assert len(started) == 2 and all(map(alive, started))
    assert engine.state is EngineState.STOPPED
    assert not any(map(alive, started))


async def test_it_leads_a_session_of_its_own_so_ctrl_c_passes_it_by(tmp_path: Path) -> None:
    async with running(tmp_path) as engine:
        await engine.wait_ready()
        assert os.getsid(pids(tmp_path)[0]) != os.getsid(0)


async def test_a_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    (tmp_path / "stubborn").touch()
    async with running(tmp_path) as engine:
        await engine.wait_ready()
    assert not any(map(alive, pids(tmp_path)))


async def test_a_crash_is_answered_by_a_restart_at_the_same_address(tmp_path: Path) -> None:
    async with running(tmp_path) as engine:
        await engine.wait_ready()
        url = engine.url
        async with httpx.AsyncClient() as client:
            with pytest.raises(httpx.HTTPError):
                await client.post(f"{url}/crash")
        await eventually(lambda: engine.state is EngineState.RESTARTING)
        assert engine.readiness().retry_after_s > 0
        await engine.wait_ready()
        assert engine.url == url
        first, first_child, second, _ = pids(tmp_path)
        assert not alive(first) and not alive(first_child) and alive(second)


async def test_adapters_can_be_loaded_again_before_each_readiness(tmp_path: Path) -> None:
    prepared: list[EngineState] = []

    async def prepare() -> None:
        prepared.append(engine.state)

    engine = ManagedEngine(
        EngineSettings(), tmp_path, get_model=tiny, launch_for=fake_in(tmp_path), patience=QUICK, prepare=prepare
    )
    await engine.start()
    await engine.wait_ready()
    os.kill(pids(tmp_path)[0], signal.SIGKILL)
    await eventually(lambda: len(prepared) == 2)
    await engine.stop()
    assert prepared == [EngineState.STARTING, EngineState.RESTARTING]


async def test_a_mute_engine_is_restarted(tmp_path: Path) -> None:
    async with running(tmp_path) as engine:
        await engine.wait_ready()
        async with httpx.AsyncClient() as client:
            await client.post(f"{engine.url}/mute")
        await eventually(lambda: engine.state is EngineState.RESTARTING)
        await engine.wait_ready()


async def test_an_engine_that_never_starts_is_given_up_with_its_last_words(tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    async with running(tmp_path) as engine:
        with pytest.raises(EngineFailed, match="no such weights"):
            await engine.wait_ready()
        assert engine.state is EngineState.FAILED
        assert len(pids(tmp_path)) == QUICK.first_crashes
        (tmp_path / "broken").unlink()
        await engine.start()
        await engine.wait_ready()


async def test_an_engine_that_keeps_crashing_is_given_up(tmp_path: Path) -> None:
    async with running(tmp_path) as engine:
        for _ in range(QUICK.crashes):
            await engine.wait_ready()
            os.kill(pids(tmp_path)[-2], signal.SIGKILL)
            await eventually(lambda: engine.state is not EngineState.READY)
        with pytest.raises(EngineFailed, match="3 times in a row"):
            await engine.wait_ready()


async def test_crashes_far_apart_are_forgiven(tmp_path: Path) -> None:
    async with running(tmp_path, replace(QUICK, settled_s=0.0)) as engine:
        for _ in range(QUICK.crashes + 1):
            await engine.wait_ready()
            os.kill(pids(tmp_path)[-2], signal.SIGKILL)
            await eventually(lambda: engine.state is not EngineState.READY)
        await engine.wait_ready()


async def test_a_start_that_takes_too_long_is_a_crash(tmp_path: Path) -> None:
    def sleeper(model: LocalModel, settings: EngineSettings, port: int) -> Launch:
        return Launch([sys.executable, "-c", "import time; time.sleep(600)"], {})

    settings = EngineSettings(start_timeout_s=0.2)
    engine = ManagedEngine(settings, tmp_path, get_model=tiny, launch_for=sleeper, patience=QUICK)
    await engine.start()
    with pytest.raises(EngineFailed):
        await engine.wait_ready()
    await engine.stop()


async def test_a_command_that_does_not_exist_is_reported(tmp_path: Path) -> None:
    def nothing(model: LocalModel, settings: EngineSettings, port: int) -> Launch:
        return Launch([str(tmp_path / "no-such-program")], {})

    engine = ManagedEngine(EngineSettings(), tmp_path, get_model=tiny, launch_for=nothing, patience=QUICK)
    await engine.start()
    with pytest.raises(EngineFailed, match="cannot start"):
        await engine.wait_ready()
    await engine.stop()


async def test_a_model_that_cannot_be_had_is_a_failed_state(tmp_path: Path) -> None:
    def missing(settings: EngineSettings, models_dir: Path, report: Report) -> LocalModel:
        raise ModelNotFound("a/b", ["hub: unreachable"])

    engine = ManagedEngine(EngineSettings(), tmp_path, get_model=missing, patience=QUICK)
    await engine.start()
    with pytest.raises(ModelNotFound):
        await engine.wait_ready()
    assert "a/b" in engine.readiness().detail
    await engine.stop()


async def test_stopping_ends_a_download(tmp_path: Path) -> None:
    def endless(settings: EngineSettings, models_dir: Path, report: Report) -> LocalModel:
        while True:
            report(Progress("download", "weights", 1_000_000, 2_000_000))
            time.sleep(0.01)

    engine = ManagedEngine(EngineSettings(), tmp_path, get_model=endless, patience=QUICK)
    await engine.start()
    await eventually(lambda: "1 of 2 MB" in engine.readiness().detail)
    async with asyncio.timeout(5):
        await engine.stop()


PARENT = """
import asyncio, sys
from pathlib import Path
from tests.server.engine.test_process import running

async def main():
    async with running(Path(sys.argv[1])) as engine:
        await engine.wait_ready()
        print("ready", flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
async def test_nothing_survives_a_killed_parent(tmp_path: Path, end: signal.Signals) -> None:
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, str(tmp_path), stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert await parent.stdout.readline() == b"ready\n"
    started = pids(tmp_path)
    assert all(map(alive, started))
    parent.send_signal(end)
    await parent.wait()
    await eventually(lambda: not any(map(alive, started)))


async def test_nothing_survives_a_killed_tether(tmp_path: Path) -> None:
    async with running(tmp_path) as engine:
        await engine.wait_ready()
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)
        await eventually(lambda: len(pids(tmp_path)) == 4)
        assert not alive(pids(tmp_path)[0])
        await engine.wait_ready()
    # The child that had left the process group escapes only when the tether itself is killed.
    os.kill(pids(tmp_path)[1], signal.SIGKILL)


TIDY = """
import signal, sys, time
from pathlib import Path

def tidy(*_):
    Path(sys.argv[1]).touch()
    sys.exit()

signal.signal(signal.SIGTERM, tidy)
Path(sys.argv[1]).with_name("listening").touch()
time.sleep(600)
"""

LEAVER = """
import subprocess, sys, time
from pathlib import Path

subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[2]])
while not Path(sys.argv[2]).with_name("listening").exists():
    time.sleep(0.02)
"""


async def test_what_the_command_leaves_behind_may_tidy_up(tmp_path: Path) -> None:
    command = tethered([sys.executable, "-c", LEAVER, TIDY, str(tmp_path / "tidied")], 5.0)
    process = await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, start_new_session=True)
    assert await process.wait() == 0
    assert (tmp_path / "tidied").exists()
