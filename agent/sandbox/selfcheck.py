"""A small battery that every sandbox must pass, whatever it is made of; `burnish doctor` runs it too."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from agent.sandbox.contract import Sandbox
from memory.records import AssertTest, CallTest, CodeTest, Limits, Outcome, StdioTest, Test


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One program with a known answer, and the answer that came."""

    name: str
    expected: Outcome
    actual: Outcome
    detail: str
    """What the verdict said, where it is not the expected one."""
    seconds: float

    @property
    def ok(self) -> bool:
        return self.actual is self.expected


@dataclass(frozen=True, slots=True, kw_only=True)
class _Item:
    name: str
    code: str
    tests: Sequence[Test]
    expected: Outcome


_LIMITS = Limits(cpu_seconds_per_test=1.0, cpu_seconds=1.0)
_PLUS_ONE = AssertTest(source="assert f(1) == 2")
_CHECK = CodeTest(source="def check(candidate):\n    assert candidate(1) == 2\n", runner="check")
_ALWAYS_EQUAL = (
    "class E:\n    def __eq__(self, other): return True\n    def __hash__(self): return 0\ndef f(x): return E()\n"
)


def _forbidden(statement: str) -> str:
    """A program that answers right only if `statement` is refused."""
    return (
        "def f(x):\n    try:\n        "
        + statement
        + "\n    except Exception:\n        return x + 1\n    return 'it worked'\n"
    )


_BATTERY = (
    _Item(name="right answer", code="def f(x): return x + 1", tests=[_PLUS_ONE, _CHECK], expected=Outcome.PASSED),
    _Item(name="wrong answer", code="def f(x): return x", tests=[_PLUS_ONE], expected=Outcome.FAILED_TEST),
    _Item(
        name="call and value",
        code="def f(x): return (x, [x])",
        tests=[CallTest(call="f(1)", expected="[1, [1]]", from_json=True)],
        expected=Outcome.PASSED,
    ),
    _Item(
        name="text in, text out",
        code="import sys\nprint(int(input()) * 2)\nsys.exit(0)",
        tests=[StdioTest(stdin="4\n", stdout="8\n")],
        expected=Outcome.PASSED,
    ),
    _Item(name="exception", code="def f(x): return 1 // 0", tests=[_PLUS_ONE], expected=Outcome.RUNTIME_ERROR),
    _Item(name="missing function", code="x = 1", tests=[_PLUS_ONE], expected=Outcome.RUNTIME_ERROR),
    _Item(name="no program", code="def f(x:", tests=[_PLUS_ONE], expected=Outcome.COMPILE_ERROR),
    _Item(name="endless loop", code="def f(x):\n    while True: pass", tests=[_PLUS_ONE], expected=Outcome.TIMEOUT),
    _Item(
        name="too much memory",
        code="def f(x): return len(bytearray(4 << 30))",
        tests=[_PLUS_ONE],
        expected=Outcome.MEMORY_LIMIT,
    ),
    _Item(
        name="too much output",
        code="def f(x):\n    while True: print('x' * 65536)",
        tests=[_PLUS_ONE],
        expected=Outcome.OUTPUT_LIMIT,
    ),
    _Item(
        name="leaving early",
        code="import os\ndef f(x): os._exit(0)",
        tests=[_PLUS_ONE, _CHECK],
        expected=Outcome.RUNTIME_ERROR,
    ),
    _Item(name="equal to everything", code=_ALWAYS_EQUAL, tests=[_PLUS_ONE, _CHECK], expected=Outcome.FAILED_TEST),
    _Item(
        name="network",
        code=_forbidden("import socket; socket.create_connection(('127.0.0.1', 22), 1)"),
        tests=[_PLUS_ONE],
        expected=Outcome.PASSED,
    ),
    _Item(
        name="files outside",
        code=_forbidden("open('/etc/passwd').read()"),
        tests=[_PLUS_ONE],
        expected=Outcome.PASSED,
    ),
    _Item(name="new process", code=_forbidden("import os; os.fork()"), tests=[_PLUS_ONE], expected=Outcome.PASSED),
    _Item(name="system files", code=_forbidden("open('/usr/lib/x', 'w')"), tests=[_PLUS_ONE], expected=Outcome.PASSED),
)


async def selfcheck(sandbox: Sandbox) -> tuple[Check, ...]:
    """Run the battery, one program after the other. Raises what `Sandbox.run` raises."""
    checks = []
    for item in _BATTERY:
        started = time.monotonic()
        verdict = await sandbox.run(item.code, item.tests, entry_point="f", limits=_LIMITS, run_id=item.name)
        fault = verdict.error
        detail = "" if verdict.outcome is item.expected or fault is None else f"{fault.type}: {fault.message}"
        checks.append(
            Check(
                name=item.name,
                expected=item.expected,
                actual=verdict.outcome,
                detail=detail,
                seconds=time.monotonic() - started,
            )
        )
    return tuple(checks)
