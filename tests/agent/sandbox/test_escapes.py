"""What a program can reach: each attempt must be refused, and nothing may be left for the next run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.sandbox.pool import WorkerPool
from memory.records import CallTest, Limits, Outcome

pytestmark = pytest.mark.asyncio(loop_scope="session")

OWN_VARIABLES = {"PATH", "HOME", "LC_ALL", "PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED", "OMP_NUM_THREADS"}
"""What the jail sets itself."""

REFUSED = {
    "tcp": "import socket; socket.create_connection(('127.0.0.1', 80), 1)",
    "udp": "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 53))",
    "dns": "import socket; socket.getaddrinfo('example.org', 80)",
    "unix": "import socket; socket.socket(socket.AF_UNIX).connect('\\0x')",
    "netlink": "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "vsock": "import socket; socket.socket(40, socket.SOCK_STREAM)",
    "passwd": "open('/etc/passwd').read()",
    "shadow": "open('/etc/shadow').read()",
    "proc": "open('/proc/self/environ').read()",
    "proc list": "import os; os.listdir('/proc')",
    "sys": "import os; os.listdir('/sys')",
    "this file": f"open({__file__!r}).read()",
    "this checkout": f"import os; os.listdir({str(Path(__file__).parents[3] / 'agent')!r})",
    "home": "import os; os.listdir(os.path.expanduser('/home'))",
    "write usr": "open('/usr/lib/x', 'w')",
    "write root": "open('/x', 'w')",
    "write library": "import os; open(os.path.join(os.path.dirname(os.__file__), 'x.py'), 'w')",
    "fork": "import os; os.fork()",
    "subprocess": "import subprocess, sys; subprocess.run([sys.executable, '-c', 'pass'], check=True)",
    "exec": "import os, sys; os.execv(sys.executable, [sys.executable, '-c', 'pass'])",
    "multiprocessing": "import multiprocessing; multiprocessing.Process(target=print).start()",
    "kill 1000": "import os; os.kill(1000, 0)",
    "parent": "import os; os.kill(os.getppid() or 99999, 9)",
    "setuid": "import os; os.setuid(0)",
    "chroot": "import os; os.chroot('/tmp')",
    "mknod": "import os, stat; os.mknod('/tmp/n', stat.S_IFBLK | 0o600, os.makedev(254, 0))",
    "nice": "import os; os.nice(-5)",
    "rlimit": "import resource; resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)",
    "large file": "open('/tmp/x', 'wb').write(b'x' * (40 << 20))",
    "hostname": "import socket; socket.sethostname('x')",
    "clock": "import time; time.clock_settime(time.CLOCK_REALTIME, 0)",
}
SYSTEM_CALLS = {
    "unshare": (272, 0x10000000), "ptrace": (101, 0), "mount": (165, 0), "keyctl": (250, 0), "bpf": (321, 0),
    "io_uring": (425, 1), "userfaultfd": (323, 0), "perf": (298, 0), "memfd": (319, 0), "shmget": (29, 0),
    "process_vm_readv": (310, 1), "pidfd_open": (434, 1), "clone newuser": (56, 0x10000011), "fork": (57, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
async def test_refused(pool: WorkerPool, name: str) -> None:
    code = f"def f():\n    try:\n        {REFUSED[name]}\n    except (OSError, ValueError): return 'refused'\n    return 'done'\n"
    verdict = await pool.run(code, [CallTest(call="f()", expected="'refused'")])
    assert verdict.outcome is Outcome.PASSED, verdict.error


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="system call numbers of x86_64")
@pytest.mark.parametrize("name", SYSTEM_CALLS)
async def test_system_call_refused(pool: WorkerPool, name: str) -> None:
    number, argument = SYSTEM_CALLS[name]
    code = (
        "import ctypes\ndef f():\n    libc = ctypes.CDLL(None, use_errno=True)\n"
        f"    return libc.syscall({number}, {argument}, 0, 0, 0, 0), ctypes.get_errno()\n"
    )
    verdict = await pool.run(code, [CallTest(call="f()", expected="(-1, 1)")])
    assert verdict.outcome is Outcome.PASSED, verdict.error


async def test_environment_and_identity(pool: WorkerPool) -> None:
    code = (
        "import os\ndef f(): return sorted(os.environ)\n"
        "def g(): return os.getpid(), os.getppid(), 0 in (os.getuid(), os.geteuid(), os.getgid()), os.getgroups(), os.listdir('/')\n"
    )
    verdict = await pool.run(code, [CallTest(call="f()", expected="[]"), CallTest(call="g()", expected="0")])
    names, identity = (case.actual or "" for case in verdict.cases)
    assert set(os.environ) & set(eval(names)) <= OWN_VARIABLES
    pid, parent, is_root, groups, root = eval(identity)
    assert (pid, parent, is_root) == (1, 0, False)
    assert groups in ([], [65534])
    assert not {"etc", "proc", "sys", "home", "var"} & set(root)


async def test_nothing_is_left_for_the_next_run(pool: WorkerPool) -> None:
    leave = (
        "import sys, os, builtins, collections\n"
        "open('/tmp/left', 'w').write('x')\nopen('/dev/shm/left', 'w').write('x')\n"
        "builtins.left = 1\ncollections.left = 1\nsys.path.insert(0, '/tmp')\nos.environ['LEFT'] = '1'\n"
        "def f(): return 1\n"
    )
    look = (
        "import sys, os, builtins, collections\n"
        "def f(): return (os.listdir('/tmp'), os.listdir('/dev/shm'), hasattr(builtins, 'left'),"
        " hasattr(collections, 'left'), '/tmp' in sys.path, 'LEFT' in os.environ)\n"
    )
    for _ in range(4):
        assert (await pool.run(leave, [CallTest(call="f()", expected="1")])).outcome is Outcome.PASSED
        found = await pool.run(look, [CallTest(call="f()", expected="([], [], False, False, False, False)")])
        assert found.outcome is Outcome.PASSED, found.error


async def test_bombs_are_contained(pool: WorkerPool) -> None:
    limits = Limits(cpu_seconds_per_test=0.5, cpu_seconds=0.5, memory_mb=256)
    bombs = {
        "threads": "import threading, time\ndef f():\n    while True: threading.Thread(target=time.sleep, args=(9,), daemon=True).start()",
        "files": "def f():\n    for i in range(100000): open(f'/tmp/{i}', 'w')",
        "descriptors": "import os\nkeep = []\ndef f():\n    while True: keep.append(os.open('/dev/null', 0))",
        "kill all": "import os\ndef f(): os.kill(-1, 9); os.kill(0, 9); return 1",
        "closed descriptors": "import os\ndef f(): os.closerange(0, 100)",
        "recursion": "import sys\nsys.setrecursionlimit(10**7)\ndef f(): return f()",
        "deep result": "def f():\n    x = []\n    for _ in range(100000): x = [x]\n    return x",
        "self reference": "def f():\n    x = []\n    x.append(x)\n    return x",
        "large result": "def f(): return 'x' * (100 << 20)",
        "many values": "def f(): return [[] for _ in range(2000000)]",
        "message": "def f(): raise ValueError('x' * (100 << 20))",
        "looping message": "class E(Exception):\n    def __str__(s):\n        while True: pass\ndef f(): raise E",
        "looping repr": "class E:\n    def __repr__(s):\n        while True: pass\ndef f(): return E()",
        "endless generator": "import itertools\ndef f(): return itertools.count()",
        "signals": "import signal, os\ndef f():\n    for s in range(1, 65):\n        try: signal.signal(s, signal.SIG_IGN)\n        except (OSError, ValueError): pass\n    while True: pass",
    }  # fmt: skip
    for name, code in bombs.items():
        verdict = await pool.run(code, [CallTest(call="f()", expected="12345")], limits=limits)
        assert verdict.outcome not in (Outcome.PASSED, Outcome.SANDBOX_ERROR, Outcome.COMPILE_ERROR), (
            name,
            verdict.error,
        )
    honest = await pool.run("def f(): return 1", [CallTest(call="f()", expected="1")])
    assert honest.outcome is Outcome.PASSED


async def test_processes_only_on_request(pool: WorkerPool) -> None:
    code = (
        "import subprocess, sys\n"
        "def f(): return subprocess.run([sys.executable, '-c', 'print(6 * 7)'], capture_output=True, text=True).stdout\n"
    )
    tests = [CallTest(call="f()", expected="'42\\n'")]
    assert (await pool.run(code, tests)).outcome is Outcome.RUNTIME_ERROR
    allowed = await pool.run(code, tests, limits=Limits(processes=True))
    assert allowed.outcome is Outcome.PASSED, allowed.error
