"""What is done to the host is noticed, so that silence means that nothing was done."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hostile.host import Host

_SET_SIGNAL = 10
"""F_SETSIG."""


def connect(host: Host) -> None:
    socket.create_connection(("127.0.0.1", int(host.facts["port"]))).close()


def send(host: Host) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"x", ("127.0.0.1", int(host.facts["udp_port"])))


def send_by_path(host: Host) -> None:
    one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, two:
        one.sendto(b"x", f"{host.facts['folder']}/datagram.socket")


def send_by_name(host: Host) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(f"\0{host.token}.stream")


def write(host: Host) -> None:
    Path(host.facts["canary"]).write_text("changed")


def change_mode(host: Host) -> None:
    Path(host.facts["canary"]).chmod(0o600)


def stop(host: Host) -> None:
    _signal(host, signal.SIGSTOP)


def end(host: Host) -> None:
    _signal(host, signal.SIGTERM)


def _signal(host: Host, number: int) -> None:
    """By way of a descriptor."""
    one, two = socket.socketpair()
    with one, two:
        fcntl.fcntl(one, fcntl.F_SETOWN, int(host.facts["process"]))
        fcntl.fcntl(one, _SET_SIGNAL, number)
        fcntl.fcntl(one, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
        two.send(b"x")
    time.sleep(0.1)


@pytest.mark.parametrize("deed", [connect, send, send_by_path, send_by_name, write, change_mode, stop, end])
def test_deed_is_noticed(deed: Callable[[Host], None]) -> None:
    with Host() as host:
        assert list(host.complaints()) == []
        deed(host)
        assert len(list(host.complaints())) == 1
        assert list(host.complaints()) == []


def test_file_left_behind_is_noticed() -> None:
    with Host() as host:
        left = Path("/tmp") / f"{host.token}.left"
        left.touch()
        try:
            assert list(host.complaints()) == [f"{left} is on the host"]
        finally:
            left.unlink()


def test_bait_is_gone_afterwards() -> None:
    with Host() as host:
        folder = Path(host.facts["folder"])
        assert os.environ["BURNISH_BAIT"] == host.secret
    assert "BURNISH_BAIT" not in os.environ
    assert not folder.exists()
