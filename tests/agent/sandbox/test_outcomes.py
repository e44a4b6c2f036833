"""Every outcome, and what the verdict says about it."""

from __future__ import annotations

import pytest

from agent.errors import BadTests
from agent.sandbox.pool import WorkerPool
from memory.records import AssertTest, CallTest, CodeTest, Limits, Outcome, StdioTest, Test, Verdict

pytestmark = pytest.mark.asyncio(loop_scope="session")

SHORT = Limits(cpu_seconds_per_test=0.3, cpu_seconds=1.0)


def asserts(*sources: str) -> list[Test]:
    return [AssertTest(source=source) for source in sources]


async def run(pool: WorkerPool, code: str, tests: list[Test], **options: object) -> Verdict:
    return await pool.run(code, tests, **options)  # type: ignore[arg-type]


async def test_every_form_of_literal_assert(pool: WorkerPool) -> None:
    code = "def f(x): return x\ndef none(): pass\nclass S:\n    def two(self, a, b=1): return a + b\n"
    tests = asserts(
        "assert f(1) == 1",
        "assert 1 == f(1)",
        "assert f([1, (2, {3})]) == [1, (2, {3})]",
        "assert none() is None",
        "assert f(1) is not None",
        "assert f(1) != 2",
        "assert not f(0)",
        "assert f('a')",
        "assert f(2) in (1, 2)",
        "assert abs(f(0.1) - 0.1) < 1e-6",
        "assert abs(0.1 - f(0.1)) <= 1e-6",
        "import math\nassert math.isclose(f(0.1), 0.1)",
        "assert math.isclose(f(0.1), 0.1, rel_tol=1e-3)",
        "assert S().two(1, b=2) == 3",
        "assert f(-1) == -1, 'message'",
        "assert f(float('inf')) == float('inf')",
        "assert f({'a': None}) == {'a': None}",
    )
    verdict = await run(pool, code, tests)
    assert [case.name for case in verdict.cases if case.outcome is not Outcome.PASSED] == []
    assert (verdict.outcome, verdict.passed, verdict.total, verdict.error) == (Outcome.PASSED, 17, 17, None)


async def test_wrong_answers_in_every_form(pool: WorkerPool) -> None:
    tests = asserts(
        "assert f(1) == 2", "assert f(1) is None", "assert not f(1)", "assert f(0)", "assert f(3) in (1, 2)",
        "assert abs(f(0.2) - 0.1) < 1e-6", "assert math.isclose(f(0.2), 0.1)", "x = f(1)\nassert x == 2",
    )  # fmt: skip
    verdict = await run(pool, "import math\ndef f(x): return x\n", tests)
    assert verdict.outcome is Outcome.FAILED_TEST
    assert {case.outcome for case in verdict.cases} == {Outcome.FAILED_TEST}
    assert verdict.cases[0].expected == "2"
    assert verdict.cases[0].actual == "1"
    assert verdict.cases[7].expected == "2"
    assert verdict.error is not None
    assert verdict.error.message == "assert f(1) == 2: expected 2, got 1"


async def test_calls(pool: WorkerPool) -> None:
    tests: list[Test] = [
        CallTest(call="f(1, 2)", expected="(1, 2)"),
        CallTest(call="f(1, 2)", expected="[1, 2]", from_json=True),
        CallTest(call="f(1, 2)", expected="[1, 2]"),
        CallTest(call="sorted(f(2, 1))", expected="[1, 2]"),
        CallTest(call="[f(i, i)[0] for i in range(3)]", expected="[0, 1, 3]"),
        CallTest(call="f(0.1 + 0.2, 0)", expected="(0.3, 0)"),
    ]
    verdict = await run(pool, "def f(a, b): return a, b", tests)
    passed = [case.outcome is Outcome.PASSED for case in verdict.cases]
    assert passed == [True, True, False, True, False, True]


async def test_no_tests_loads_the_program(pool: WorkerPool) -> None:
    good = await run(pool, "x = 1\nprint('loaded')", [])
    assert (good.outcome, good.passed, good.total, good.stdout) == (Outcome.PASSED, 0, 0, "loaded\n")
    bad = await run(pool, "x = 1 / 0", [])
    assert bad.outcome is Outcome.RUNTIME_ERROR
    assert bad.error is not None
    assert bad.error.type == "ZeroDivisionError"


@pytest.mark.parametrize(
    "source", ["def f(x:\n", "return 1", "x = (", "def f():\npass", "\x00", "x = '\ud800'", "if 1:\n\tx\n        y"]
)
async def test_compile_error(pool: WorkerPool, source: str) -> None:
    verdict = await run(pool, source, [*asserts("assert f(1) == 1"), StdioTest(stdin="", stdout="")])
    assert verdict.outcome is Outcome.COMPILE_ERROR
    assert {case.outcome for case in verdict.cases} == {Outcome.COMPILE_ERROR}


async def test_prelude_is_available_and_not_counted(pool: WorkerPool) -> None:
    verdict = await run(
        pool,
        "def f(x):\n    return helper(x) + 1 // 0\n",
        asserts("assert f(1) == 2"),
        prelude="\n\ndef helper(x):\n    return x\n",
    )
    assert verdict.error is not None
    assert verdict.error.line == 2
    assert verdict.executed_lines == (1, 2)


async def test_runtime_errors(pool: WorkerPool) -> None:
    for code in ("def f(x): raise KeyError(x)", "def g(): pass", "import nothing", "import sys\nsys.exit(0)", "def f(x): return f(x)",
                 "import sys\ndef f(x): sys.exit(0)", "import os\nos._exit(0)", "import ctypes\ndef f(x): ctypes.string_at(0)",
                 "import os\ndef f(x): os.abort()", "def f(x): assert x == 2"):  # fmt: skip
        tests = [*asserts("assert f(1) == 1", "y = f(1)\nassert y == 1")]
        verdict = await run(pool, code, tests)
        assert verdict.outcome is Outcome.RUNTIME_ERROR, code
        assert verdict.total == 2


async def test_missing_entry_point_is_a_name_error(pool: WorkerPool) -> None:
    check = CodeTest(
        source="def check(candidate):\n    assert candidate(1) == 1\n    assert candidate(2) == 2", runner="check"
    )
    for tests in ([AssertTest(source="assert f(1) == 1")], [check]):
        verdict = await pool.run("def other(): pass", tests, entry_point="f")
        assert verdict.outcome is Outcome.RUNTIME_ERROR
        assert verdict.error is not None
        assert verdict.error.type == "NameError"


async def test_timeout_names_the_line_and_other_tests_go_on(pool: WorkerPool) -> None:
    code = "def f(x):\n    if x == 2:\n        while True:\n            pass\n    return x\n"
    check = CodeTest(
        source="def check(c):\n    assert c(1) == 1\n    assert c(2) == 2\n    assert c(3) == 3\n", runner="check"
    )
    for tests in (asserts("assert f(1) == 1", "assert f(2) == 2", "assert f(3) == 3"), [check]):
        verdict = await pool.run(code, tests, entry_point="f", limits=SHORT)
        assert [case.outcome for case in verdict.cases] == [Outcome.PASSED, Outcome.TIMEOUT, Outcome.PASSED]
        assert verdict.outcome is Outcome.TIMEOUT
        assert verdict.error is not None
        assert verdict.error.type == "timeout"
        assert verdict.error.line in (3, 4)
        assert set(verdict.executed_lines) == {1, 2, 3, 4, 5}


@pytest.mark.parametrize(
    "body",
    ["    import time\n    time.sleep(60)", "    while True:\n        try:\n            while True: pass\n        except BaseException: pass",
     "    import re\n    re.match(r'(a+)+$', 'a' * 40 + 'b')", "    return 10 ** 10 ** 9",
     "    import signal\n    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    while True: pass"],
)  # fmt: skip
async def test_what_cannot_be_interrupted(pool: WorkerPool, body: str) -> None:
    limits = Limits(cpu_seconds_per_test=0.1, cpu_seconds=0.1)
    verdict = await run(pool, f"def f(x):\n{body}\n", asserts("assert f(1) == 1"), limits=limits)
    assert verdict.outcome is Outcome.TIMEOUT
    assert verdict.error is not None
    assert verdict.error.line is not None


async def test_cpu_limit_of_the_run_ends_the_rest(pool: WorkerPool) -> None:
    code = "def f(x):\n    while True: pass"
    tests = asserts(*[f"assert f({i}) == 1" for i in range(20)])
    verdict = await run(pool, code, tests, limits=Limits(cpu_seconds_per_test=0.2, cpu_seconds=0.5))
    assert {case.outcome for case in verdict.cases} == {Outcome.TIMEOUT}
    assert verdict.total == 20
    assert verdict.seconds < 8


async def test_memory_limit(pool: WorkerPool) -> None:
    for body in ("return len(bytearray(2 << 30))", "a = []\n    while True: a.append('x' * 1000000 + str(len(a)))"):
        verdict = await run(pool, f"def f(x):\n    {body}\n", asserts("assert f(1) == 1"), limits=Limits(memory_mb=128))
        assert verdict.outcome is Outcome.MEMORY_LIMIT
        assert verdict.error is not None
        assert verdict.error.line is not None


async def test_peak_memory_is_that_of_the_program(pool: WorkerPool) -> None:
    small = await run(pool, "def f(x): return x", asserts("assert f(1) == 1"))
    large = await run(pool, "def f(x): return len(b'x' * (100 << 20))", asserts("assert f(1) > 1"))
    assert small.peak_mb < 10
    assert 95 < large.peak_mb < 130


async def test_output_limit_and_capped_output(pool: WorkerPool) -> None:
    flood = await run(
        pool, "import sys\ndef f(x):\n    while True: sys.stderr.write('x' * 9999)", asserts("assert f(1) == 1")
    )
    assert flood.outcome is Outcome.OUTPUT_LIMIT
    script = await run(pool, "while True: print('y' * 70000)", [StdioTest(stdin="", stdout="")])
    assert script.outcome is Outcome.OUTPUT_LIMIT
    large = await run(pool, "print('a' * 1000000)\nprint('end')", [StdioTest(stdin="", stdout="a" * 1000000 + "\nend")])
    assert large.outcome is Outcome.PASSED
    assert large.stdout.endswith("end\n")
    assert len(large.stdout) < 70_000


async def test_stdio(pool: WorkerPool) -> None:
    code = "import sys\nif __name__ == '__main__':\n    n = int(input())\n    print(n * 2)\n    sys.exit(n)\n"
    tests: list[Test] = [
        StdioTest(stdin="0\n", stdout="0"),
        StdioTest(stdin="3\n", stdout="6\n"),
        StdioTest(stdin="x\n", stdout=""),
        StdioTest(stdin="0\n", stdout="1"),
    ]
    verdict = await run(pool, code, tests)
    assert [case.outcome for case in verdict.cases] == [
        Outcome.PASSED, Outcome.RUNTIME_ERROR, Outcome.RUNTIME_ERROR, Outcome.FAILED_TEST,
    ]  # fmt: skip
    assert verdict.cases[3].expected == "1"
    assert verdict.cases[3].actual == "0\n"
    assert verdict.executed_lines == (1, 2, 3, 4, 5)


async def test_stdio_end_of_process(pool: WorkerPool) -> None:
    code = (
        "import atexit, threading, time\natexit.register(print, 'last')\n"
        "threading.Thread(target=lambda: (time.sleep(0.1), print('thread'))).start()\nprint('main')\n"
    )
    verdict = await run(pool, code, [StdioTest(stdin="", stdout="main\nthread\nlast\n")])
    assert verdict.outcome is Outcome.PASSED, verdict
    missing = await run(pool, "print(input())", [StdioTest(stdin="", stdout="")])
    assert missing.error is not None
    assert missing.error.type == "EOFError"


async def test_worst_case_decides_and_its_fault_is_told(pool: WorkerPool) -> None:
    code = "def f(x):\n    return [1, 2][x]\n"
    verdict = await run(pool, code, asserts("assert f(0) == 5", "assert f(7) == 1", "assert f(1) == 2"))
    assert verdict.outcome is Outcome.RUNTIME_ERROR
    assert (verdict.passed, verdict.total) == (1, 3)
    assert verdict.error is not None
    assert (verdict.error.type, verdict.error.line, verdict.error.span) == ("IndexError", 2, (2, 4, 2, 20))
    assert "line 2, in f" in verdict.error.traceback
    assert "candidate.py" not in verdict.error.traceback


@pytest.mark.parametrize(
    "test",
    [
        AssertTest(source="assert f("),
        AssertTest(source="x = '\ud800'\nassert x"),
        CallTest(call="f(1", expected="1"),
        CallTest(call="f(1)", expected="g()"),
        CallTest(call="f(1)", expected=""),
        CodeTest(source="def check(c):", runner="check"),
        CodeTest(source="x = 1", runner="check"),
        CodeTest(source="(" * 5000, runner="script"),
    ],
)
async def test_bad_tests(pool: WorkerPool, test: Test) -> None:
    with pytest.raises(BadTests):
        await pool.run("def f(x): return x", [test])


async def test_source_that_is_too_long_or_too_deep(pool: WorkerPool) -> None:
    for code in (
        "x = 1\n" * 300_000,
        "(" * 50_000,
        "x = " + "-" * 100_000 + "1",
        "x = " + "[" * 90 + "]" * 90 + "\ndef f(:",
    ):
        verdict = await run(pool, code, asserts("assert f(1) == 1"))
        assert verdict.outcome is Outcome.COMPILE_ERROR, code[:20]


async def test_blanks_inside_literals_stay_in_names(pool: WorkerPool) -> None:
    tests = [*asserts("assert f('a  b') == 1"), CallTest(call="f('a  b')", expected="'c  d'")]
    verdict = await pool.run("def f(x): return 2", tests)
    assert [case.name.count("  ") for case in verdict.cases] == [1, 1]
    assert "c  d" in (verdict.cases[1].expected or "")
