"""How the processes of a worker begin.

    outer process      waits for the inner one: the pid namespace that it has made holds only what it forks
    inner process      the worker
    template           forked from the worker, and from it that of judges

Each imports what it needs only when it has been forked: what is mapped before costs every fork to come more, and what
a process has inherited in pieces it cannot join. Standard library only.
"""

from __future__ import annotations

import marshal
import os
import signal
import socket
import sys
from typing import Any

from agent.sandbox.walls import identity, kernel, mappings
from agent.sandbox.walls.orders import MAX_MESSAGE, RESERVED


def main(control_fd: int) -> None:
    """Entry of a worker process started by the server; returns when the server is gone. Where Burnish's modules are
    found is the last of `sys.path`."""
    while control_fd < RESERVED:
        control_fd = os.dup(control_fd)
    control = socket.socket(fileno=control_fd)
    config: dict[str, Any] = marshal.loads(control.recv(MAX_MESSAGE))
    kernel.die_with_parent(signal.SIGKILL)
    if os.getppid() != config["server"]:
        return
    procfs = os.open("/proc", os.O_PATH | os.O_CLOEXEC)
    mappings.join(procfs)
    os.close(procfs)
    try:
        if config["tier"] == "B":
            _split(control, config, identity.without_namespaces())
            return
        own = identity.unshare_base()
        pid = os.fork()
        if pid != 0:
            control.close()
            os.waitpid(pid, 0)
            return
        kernel.die_with_parent(signal.SIGKILL)
        _split(control, config, own)
    except identity.Impossible as error:
        from agent.sandbox.wire import frames

        control.send(frames.pack({"event": "hello", "missing": [error.missing]}))
    except (BrokenPipeError, ConnectionResetError):
        return


def _split(control: socket.socket, config: dict[str, Any], own: identity.Identity) -> None:
    """Fork the template from the worker; both go on from here. Raises Impossible in the worker."""
    load = os.open("/proc/loadavg", os.O_RDONLY | os.O_CLOEXEC)
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]
    (candidates, of_candidates), (judges, of_judges) = pairs
    if os.fork() == 0:
        try:
            kernel.die_with_parent(signal.SIGKILL)
            for mine in (control, candidates, judges):
                mine.close()
            os.close(load)
            from agent.sandbox.walls import template

            sys.path.pop()
            template.run(of_candidates, of_judges, own)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(0)
    of_candidates.close()
    of_judges.close()
    from agent.sandbox.walls import worker

    worker.run(control, candidates, judges, config, load)
