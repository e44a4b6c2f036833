"""Many different runs for a soak test, each with a constant of its own that its verdict must show."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from memory.records import AssertTest, CallTest, CodeTest, Limits, Outcome, StdioTest, Test, Verdict
from tests.hostile.corpus import Program, programs

_SMALL = Limits(cpu_seconds_per_test=0.2, cpu_seconds=0.2, memory_mb=64, output_bytes=1 << 16)
_HOSTILE_SHARE = 0.05
_CONSTANT = re.compile("burnish_[0-9a-f]{16}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run and what must come of it."""

    kind: str
    constant: str
    code: str
    tests: tuple[Test, ...]
    outcomes: frozenset[Outcome]
    limits: Limits = field(default_factory=Limits)
    prelude: str = ""
    entry_point: str | None = "f"
    hostile: bool = False
    """Whether the program may hide its constant; it may never show another's."""

    def complaint(self, verdict: Verdict) -> str:
        """What is wrong with `verdict` as an answer to this job; empty if nothing is."""
        if shifted := set(_CONSTANT.findall(repr(verdict))) - {self.constant}:
            return f"{self.kind}: shifted, shows {sorted(shifted)} instead of {self.constant}"
        if verdict.outcome is Outcome.SANDBOX_ERROR:
            return ""
        if verdict.outcome not in self.outcomes:
            return f"{self.kind}: {verdict.outcome} instead of {sorted(self.outcomes)}, {verdict.error}"
        told = verdict.stdout + verdict.stderr
        if verdict.outcome is Outcome.COMPILE_ERROR and verdict.error:
            told += verdict.error.message
        if self.constant not in told and not self.hostile:
            return f"{self.kind}: the constant {self.constant} is missing in {told[:200]!r}"
        return ""


def jobs(count: int, seed: int) -> Iterator[Job]:
    """`count` jobs, the same for the same arguments; programs that need long are rare."""
    rng = random.Random(seed)
    kinds = list(_KINDS.items())
    hostile = [program for program in programs() if _is_simple(program)]
    weights = [weight for _, (weight, _) in kinds]
    for kind, (_, make) in rng.choices(kinds, weights, k=count):
        constant = f"burnish_{rng.getrandbits(64):016x}"
        if rng.random() < _HOSTILE_SHARE:
            yield _hostile(rng.choice(hostile), rng, constant)
        else:
            yield replace(make(constant), kind=kind)


def _is_simple(program: Program) -> bool:
    """Whether a program of the hostile corpus can be run on its own, on any machine."""
    special = program.needs or program.exempt or program.then or program.at_once > 1 or program.same > 1
    return not special and not re.search("@[a-z_]+@", _aimed(program.code, ""))


def _aimed(code: str, constant: str) -> str:
    """The code with this process as its target and the constant in the names of the files it leaves."""
    return code.replace("@pid@", str(os.getpid())).replace("@token@", constant)


def _hostile(program: Program, rng: random.Random, constant: str) -> Job:
    return Job(
        kind=program.title,
        constant=constant,
        code=_aimed(program.code, constant),
        tests=rng.choice(program.batches).tests,
        outcomes=program.outcomes,
        limits=program.limits,
        prelude=f"{program.prelude}\n__import__('sys').stderr.write('{constant}\\n')\n",
        entry_point=program.entry_point,
        hostile=True,
    )


Make = Callable[[str], Job]


def _job(
    code: str, constant: str, outcomes: str, *tests: Test, limits: Limits | None = None, entry_point: str | None = "f"
) -> Job:
    return Job(
        kind="",
        constant=constant,
        code=code,
        tests=tests,
        outcomes=frozenset(map(Outcome, outcomes.split())),
        limits=limits or Limits(),
        entry_point=entry_point,
    )


def _called(body: str, outcomes: str, limits: Limits | None = None) -> Make:
    """A program that prints its constant when it is loaded; the one test calls `f()`, which runs `body`."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())

    def make(constant: str) -> Job:
        code = f"CONSTANT = {constant!r}\nprint(CONSTANT, flush=True)\ndef f():\n{lines}\n"
        return _job(code, constant, outcomes, CallTest(call="f()", expected=repr(constant)), limits=limits)

    return make


def _tested(tests: Callable[[str], Test], returned: str, outcomes: str) -> Make:
    """A program whose `f()` gives `returned`, with one test that wants the constant."""

    def make(constant: str) -> Job:
        code = f"CONSTANT = {constant!r}\nprint(CONSTANT, flush=True)\ndef f():\n    return {returned}\n"
        return _job(code, constant, outcomes, tests(constant))

    return make


def _broken(constant: str) -> Job:
    """The compiler's message quotes the constant."""
    return _job(f"from __future__ import {constant}\n", constant, "compile_error", CallTest(call="f()", expected="1"))


def _stdio(right: bool) -> Make:
    def make(constant: str) -> Job:
        code = f"number = int(input())\nprint({constant!r}, number + 1)\n"
        test = StdioTest(stdin="41\n", stdout=f"{constant} {42 if right else 43}\n")
        return _job(code, constant, "passed" if right else "failed_test", test, entry_point=None)

    return make


def _assert(constant: str) -> Test:
    return AssertTest(source=f"assert f() == {constant!r}")


def _check(constant: str) -> Test:
    return CodeTest(source=f"def check(candidate):\n    assert candidate() == {constant!r}\n", runner="check")


def _pytest(constant: str) -> Test:
    source = (
        f"import pytest\nfrom solution import f\n@pytest.mark.parametrize('n', [1, 2])\n"
        f"def test_f(n):\n    assert f() == {constant!r}\n"
    )
    return CodeTest(source=source, runner="pytest")


def _unittest(constant: str) -> Test:
    source = (
        "import unittest\nfrom solution import f\nclass TestF(unittest.TestCase):\n"
        f"    def test_f(self):\n        self.assertEqual(f(), {constant!r})\n"
    )
    return CodeTest(source=source, runner="unittest")


_LEFT_OVER = """import threading, time
for folder in ('/tmp', '/dev/shm'):
    try:
        for number in range(20):
            open(f'{folder}/{CONSTANT}-{number}', 'w').write('x' * 1000)
    except OSError:
        pass
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
return CONSTANT"""

_KINDS: dict[str, tuple[int, Make]] = {
    "assert, right": (60, _tested(_assert, "CONSTANT", "passed")),
    "assert, wrong": (40, _tested(_assert, "CONSTANT[::-1]", "failed_test")),
    "check, right": (60, _tested(_check, "CONSTANT", "passed")),
    "check, wrong": (40, _tested(_check, "CONSTANT[::-1]", "failed_test")),
    "pytest, right": (30, _tested(_pytest, "CONSTANT", "passed")),
    "pytest, wrong": (20, _tested(_pytest, "CONSTANT[::-1]", "failed_test")),
    "unittest, right": (30, _tested(_unittest, "CONSTANT", "passed")),
    "unittest, wrong": (20, _tested(_unittest, "CONSTANT[::-1]", "failed_test")),
    "stdio, right": (40, _stdio(right=True)),
    "stdio, wrong": (30, _stdio(right=False)),
    "does not compile": (20, _broken),
    "exception": (30, _called("raise ValueError(CONSTANT)", "runtime_error")),
    "exit": (10, _called("import os\nos._exit(0)", "runtime_error")),
    "segmentation fault": (10, _called("import ctypes\nctypes.string_at(0)", "runtime_error")),
    "recursion": (10, _called("return f()", "runtime_error")),
    "left-overs": (10, _called(_LEFT_OVER, "passed")),
    "fork": (10, _called("import os\nwhile True:\n    os.fork()", "runtime_error")),
    "many descriptors": (10, _called("kept = []\nwhile True:\n    kept.append(open('/dev/null'))", "runtime_error")),
    "result too large": (3, _called("return 'x' * (1 << 25)", "failed_test runtime_error")),
    "memory at once": (5, _called("return bytearray(1 << 32)", "memory_limit", _SMALL)),
    "memory in small parts": (
        3,
        _called("kept = []\nwhile True:\n    kept.append(bytes(1 << 16))", "memory_limit timeout", _SMALL),
    ),
    "output": (5, _called("while True:\n    print('x' * 1000)", "output_limit timeout", _SMALL)),
    "endless loop": (2, _called("while True:\n    pass", "timeout", _SMALL)),
    "endless loop that catches all": (
        2,
        _called("while True:\n    try:\n        while True: pass\n    except BaseException: pass", "timeout", _SMALL),
    ),
    "threads": (
        2,
        _called(
            "import threading\nwhile True:\n    threading.Thread(target=threading.Event().wait).start()",
            "runtime_error memory_limit timeout",
            _SMALL,
        ),
    ),
}
