"""Judges one program in the simplest way there is: program and tests in one interpreter, without isolation.

Started by `plain.judge` for each program, with `-s -P`. Reads one JSON object from standard input (`code`, `test`,
`entry_point`, `cpu_seconds`, `memory_mb`) and writes one to standard output: `outcome`, a word of `memory.records`, and
`detail`. Standard library only.
"""

from __future__ import annotations

import json
import os
import random
import resource
import sys
import traceback
from pathlib import Path

_PROGRAM, _TESTS = "<program>", "<tests>"
_FILE_BYTES = 1 << 20


def main() -> None:
    """Judge and tell."""
    order = json.load(sys.stdin)
    told = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    _confine(order["cpu_seconds"], order["memory_mb"])
    random.seed(0)
    sys.setrecursionlimit(1000 + 5)
    outcome, detail = "passed", ""
    namespace: dict[str, object] = {"__name__": "solution"}
    try:
        code = compile(order["code"], _PROGRAM, "exec", dont_inherit=True)
        exec(code, namespace)
        exec(compile(order["test"], _TESTS, "exec", dont_inherit=True), namespace)
        check = namespace["check"]
        assert callable(check)
        check(namespace[order["entry_point"]])
    except BaseException as error:
        outcome, detail = _meaning(error), f"{type(error).__name__}: {str(error)[:300]}"
    os.write(told, json.dumps({"outcome": outcome, "detail": detail}).encode())
    os._exit(0)


def _confine(cpu_seconds: int, memory_mb: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    size = pages * resource.getpagesize() + (memory_mb << 20)
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_BYTES, _FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _meaning(error: BaseException) -> str:
    """An exception is the program's if it left the program's code, or if the tests want a name that is not there."""
    if isinstance(error, MemoryError):
        return "memory_limit"
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and _PROGRAM not in files:
        return "compile_error"
    missing = isinstance(error, NameError) and not isinstance(error, UnboundLocalError)
    return "runtime_error" if _PROGRAM in files or _TESTS not in files or missing else "failed_test"


if __name__ == "__main__":
    main()
