"""`burnish serve` as a user starts it: a child process with a real model and a real engine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
_START_S = 600


class BurnishProcess:
    """One server with its engine; can be stopped and started again over the same data directory."""

    def __init__(self, data_dir: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = data_dir / "server.log"
        self._data_dir = data_dir
        self._child: subprocess.Popen[bytes] | None = None
        self.family: set[psutil.Process] = set()
        """Every process of the server that was ever seen."""

    def start(self) -> None:
        """Start and wait until the engine answers."""
        command = [sys.executable, "-m", "server", "serve", "--model", MODEL, "--port", str(self.port)]
        environment = {**os.environ, "BURNISH_DATA_DIR": str(self._data_dir), "BURNISH_ENGINE__MAX_MODEL_LEN": "2048"}
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        self.wait_ready()

    def wait_ready(self) -> None:
        """Until `/ready` says 200. Raises AssertionError with the log's end if the server dies first."""
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            assert self._child is not None and self._child.poll() is None, self.log.read_text()[-4000:]
            self.look()
            try:
                if httpx.get(f"{self.url}/ready", timeout=5, trust_env=False).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.5)
        raise AssertionError(f"not ready after {_START_S} s: {self.log.read_text()[-4000:]}")

    def look(self) -> None:
        """Remember which processes belong to the server now."""
        assert self._child is not None
        me = psutil.Process(self._child.pid)
        self.family |= {me, *me.children(recursive=True)}

    def engine_processes(self) -> list[psutil.Process]:
        """The engine's processes, as far as they live."""
        self.look()
        return [process for process in self.family if "vllm" in _command(process).lower()]

    def interrupt(self) -> int:
        """Ctrl-C; the exit status."""
        assert self._child is not None
        self.look()
        self._child.send_signal(signal.SIGINT)
        return self._child.wait(timeout=90)

    def kill(self) -> None:
        """kill -9 of the server alone."""
        assert self._child is not None
        self.look()
        self._child.kill()
        self._child.wait(timeout=30)

    def survivors(self, patience_s: float = 20.0) -> list[str]:
        """Command lines of what still lives of the family after some patience."""
        _, alive = psutil.wait_procs(list(self.family), timeout=patience_s)
        return [_command(process) for process in alive]


def _command(process: psutil.Process) -> str:
    try:
        return f"{process.name()} {' '.join(process.cmdline())}"
    except psutil.Error:
        return ""
