"""Harnesses as they are often written, in which tests share the interpreter with the program: what many cheats are made
for. They show that a cheat works where nothing is done against it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from memory.records import AssertTest, CallTest, CodeTest, ProbeTest, StdioTest, Test
from tests.hostile.corpus import Program

_SECONDS = 10.0
_LIMITS = """
import resource
for kind, limit in ((resource.RLIMIT_CPU, 3), (resource.RLIMIT_AS, 1 << 30), (resource.RLIMIT_FSIZE, 1 << 20)):
    resource.setrlimit(kind, (limit, limit))
"""
_RESULT_LIST = """
def run(code, tests):
    result = []
    try:
        namespace = {"__name__": "program"}
        exec(code, namespace)
        exec(tests, namespace)
        result.append("passed")
    except BaseException as error:
        result.append(f"failed: {error}")
    return result[0] == "passed"

raise SystemExit(0 if run(CODE, TESTS) else 1)
"""
_PIPE = """
import json, os
try:
    namespace = {"__name__": "program"}
    exec(CODE, namespace)
    exec(TESTS, namespace)
    passed = True
except BaseException:
    passed = False
os.write(VERDICT, (json.dumps({"passed": passed}) + "\\n").encode())
"""
_TABLE = """
namespace = {"__name__": "program"}
table = [[[1], 2], [[41], 42], [[10], 11]]
exec(CODE, namespace)
raise SystemExit(0 if all(namespace["f"](*arguments) == expected for arguments, expected in table) else 1)
"""


def accepts(harness: str, program: Program, folder: Path) -> bool:
    """Whether `harness` accepts `program` with one of its sets of tests. `folder` is for files, and empty."""
    sources = [_source(batch.tests, program.entry_point) for batch in program.batches]
    return any(HARNESSES[harness](program.code, source, folder) for source in sources if source)


def _source(tests: tuple[Test, ...], entry_point: str | None) -> str:
    """Test code that stands behind the program in one file; empty for tests on standard input."""
    return "\n".join(_statement(test, entry_point) for test in tests if not isinstance(test, StdioTest))


def _statement(test: Test, entry_point: str | None) -> str:
    match test:
        case AssertTest():
            return test.source
        case CallTest():
            return f"assert {test.call} == {test.expected}"
        case CodeTest(runner="check"):
            return f"{test.source}\ncheck({entry_point})"
        case CodeTest(runner="unittest"):
            return f"{_without_imports(test.source)}\nunittest.main()"
        case CodeTest(runner="pytest"):
            return ""
        case CodeTest():
            return test.source
        case StdioTest() | ProbeTest():
            return ""


def _without_imports(source: str) -> str:
    return "\n".join(line for line in source.splitlines() if not line.startswith("from solution import"))


def _exit_status(code: str, tests: str, folder: Path) -> bool:
    (folder / "limits.py").write_text(_LIMITS)
    return _run(f"import limits\n{code}\n{tests}\n", folder).returncode == 0


def _result_list(code: str, tests: str, folder: Path) -> bool:
    script = f"{_LIMITS}CODE = {code!r}\nTESTS = {tests!r}\n{_RESULT_LIST}"
    return _run(script, folder).returncode == 0


def _table(code: str, tests: str, folder: Path) -> bool:
    return _run(f"{_LIMITS}CODE = {code!r}\n{_TABLE}", folder).returncode == 0


def _pipe(code: str, tests: str, folder: Path) -> bool:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as verdict:
        _run(f"{_LIMITS}VERDICT = {writer}\nCODE = {code!r}\nTESTS = {tests!r}\n{_PIPE}", folder, writer)
        os.close(writer)
        first = verdict.readline()
    try:
        told = json.loads(first)
    except ValueError:
        return False
    return told["passed"] is True


def _pytest(code: str, tests: str, folder: Path) -> bool:
    (folder / "solution.py").write_text(code)
    (folder / "test_program.py").write_text("from solution import f\ndef test(): assert f(1) == 2\n")
    line = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), "test_program.py"]
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, timeout=_SECONDS, check=False)
    return done.returncode == 0


def _run(script: str, folder: Path, *kept: int) -> subprocess.CompletedProcess[bytes]:
    (folder / "program.py").write_text(script)
    return subprocess.run(
        [sys.executable, "program.py"], cwd=folder, capture_output=True, timeout=_SECONDS, check=False, pass_fds=kept
    )


HARNESSES: dict[str, Callable[[str, str, Path], bool]] = {
    "exit status": _exit_status,
    "result list": _result_list,
    "pipe": _pipe,
    "pytest": _pytest,
    "table": _table,
}
