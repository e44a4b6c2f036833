"""Times four programs with and without tracing; started by `sandbox_coverage` on the interpreter to be measured.

    INTERPRETER traced_child.py REPOSITORY ROUNDS

Standard library and `agent.sandbox.program.trace` only: it runs on an interpreter without Burnish's packages. Prints
one JSON object: `version`, `method`, and for each program the samples `plain` and `traced`, each with the CPU seconds
of preparing (compiling included) and of executing.
"""

from __future__ import annotations

import ast
import json
import mmap
import os
import platform
import sys
import time
from typing import Any

_PROGRAMS = {
    "tight loop": """
def run():
    total = 0
    for number in range(6_000_000):
        if number % 3 == 0:
            total += number
        else:
            total -= 1
    return total
run()
""",
    "sieve": """
def run(limit):
    prime = [True] * limit
    for number in range(2, limit):
        if prime[number]:
            for multiple in range(number * number, limit, number):
                prime[multiple] = False
    return sum(prime)
run(3_000_000)
""",
    "recursion": """
def fib(n):
    if n < 2: return n
    return fib(n - 1) + fib(n - 2)
fib(32)
""",
    "library-heavy": """
import collections
import json
import re
def run():
    text = " ".join(str(number * 7919 % 10007) for number in range(20_000))
    for _ in range(30):
        words = re.findall(r"[0-9]+", text)
        common = collections.Counter(words).most_common(100)
        ordered = sorted(words, key=int)
        json.loads(json.dumps([common, ordered]))
run()
""",
}


def main() -> None:
    """Measure and print."""
    sys.path.append(sys.argv[1])
    from agent.sandbox.program import trace

    samples: dict[str, dict[str, list[list[float]]]] = {name: {"plain": [], "traced": []} for name in _PROGRAMS}
    for _ in range(int(sys.argv[2])):
        for name, source in _PROGRAMS.items():
            for kind in ("plain", "traced"):
                samples[name][kind].append(_sample(source, trace if kind == "traced" else None))
    method = "sys.monitoring" if trace.MONITORING else "instrumented source"
    print(json.dumps({"version": platform.python_version(), "method": method, "programs": samples}))


def _sample(source: str, trace: Any) -> list[float]:
    """CPU seconds of preparing and of executing `source` in a forked process."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writer, json.dumps(_timed(source, trace)).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as told:
        measured: list[float] = json.load(told)
    os.waitpid(pid, 0)
    return measured


def _timed(source: str, trace: Any) -> tuple[float, float]:
    namespace: dict[str, object] = {"__name__": "solution"}
    started = time.process_time()
    code = compile(source, "<program>", "exec", dont_inherit=True)
    if trace is not None:
        tree = ast.parse(source)
        statements = trace.Statements(tree, source)
        hits = mmap.mmap(-1, trace.MAX_STATEMENTS)
        if trace.MONITORING:
            trace.monitor(code, statements, hits)
        else:
            trace.instrument(statements)
            code = compile(tree, "<program>", "exec", dont_inherit=True)
            namespace[trace.HITS] = hits
    prepared = time.process_time()
    exec(code, namespace)
    return prepared - started, time.process_time() - prepared


if __name__ == "__main__":
    main()
