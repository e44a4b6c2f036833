"""What the templates are ordered to do, and what they answer. Standard library only: runs inside the jail."""

from __future__ import annotations

import os
import socket
import struct
from typing import NamedTuple

MAX_MESSAGE = 65536
RESERVED = 5
"""Descriptors that a jailed process gets, at most."""
FAILED = 120
"""Exit status of a process that could not be confined."""
BROKEN = 121
"""Of one that was, and whose harness raised."""
_HEADER = struct.Struct("iH")


class Answer(NamedTuple):
    """What became of an order."""

    pid: int
    """Of the new process; minus the errno of a failed fork; for `seal` 0."""
    scratch: str
    """Private folder of the process, as it sees it."""
    order: bytes

    @classmethod
    def receive(cls, orders: socket.socket) -> Answer:
        """The next one. Raises BrokenPipeError if the template has ended."""
        data = orders.recv(2 * MAX_MESSAGE)
        if not data:
            raise BrokenPipeError("a template has ended")
        pid, size = _HEADER.unpack_from(data)
        start = _HEADER.size
        return cls(pid, os.fsdecode(data[start : start + size]), data[start + size :])


def answer(orders: socket.socket, pid: int, scratch: str, order: bytes) -> None:
    """Send an `Answer`."""
    folder = os.fsencode(scratch)
    orders.send(_HEADER.pack(pid, len(folder)) + folder + order)
