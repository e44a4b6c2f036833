"""Programs in JavaScript: every outcome, and what a verdict tells of it."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from base64 import b64encode
from pathlib import Path

import pytest

from agent.sandbox.native.language import Language
from agent.sandbox.pool import WorkerPool
from memory.records import Fault, Limits, Outcome, Test, Verdict
from tests.agent.sandbox.native import machine
from tests.agent.sandbox.native.machine import SHORT, call, stdio

pytestmark = [pytest.mark.asyncio(loop_scope="session"), machine.needs(Language.JAVASCRIPT)]


async def run(pool: WorkerPool, code: str, *tests: Test, limits: Limits | None = None, prelude: str = "") -> Verdict:
    return await pool.run(code, tests, language="js", limits=limits, prelude=prelude)


def fault(verdict: Verdict) -> Fault:
    assert verdict.error is not None
    return verdict.error


async def test_calls_are_all_made_and_compared_by_value(pool: WorkerPool) -> None:
    code = """
function add(a, b) { return a + b.reduce((x, y) => x + y, 0) }
const same = (x) => x
class Counter { constructor() { this.n = 0 } up() { return ++this.n } }
async function later(x) { await null; return [x] }
function fails() { throw new RangeError("too far") }
"""
    tests = [
        (call("add(1, [2, 3])", "6"), True),
        (call("add(1, [2, 3])", "7"), False),
        (call("new Counter().up()", "1"), True),
        (call("later(2)", "[2]"), True),
        (call("0.1 + 0.2", "0.3"), True),
        (call("same({a: [1, null, 'x']})", '{"a": [1, null, "x"]}'), True),
        (call("same([true, null])", "[True, None]"), True),
        (call("same([1, 'a'])", "(1, 'a')"), True),
        (call("same(undefined)", "undefined"), True),
        (call("same(null)", "undefined"), False),
        (call("same([NaN, -Infinity])", "[NaN, -Infinity]"), True),
        (call("same(true)", "1"), False),
        (call("same(1)", "true"), False),
        (call("same('1')", "1"), False),
        (call("same(2n ** 70n)", str(2**70)), True),
        (call("new Map([[1, 'a'], ['b', new Set([2, 1])]])", '{"1": "a", "b": [1, 2]}'), True),
        (call("new Uint8Array([1, 2])", "[1, 2]"), True),
        (call("'\\u{1F600}\\ud800é'", '"\\ud83d\\ude00\\ud800é"'), True),
        (call("same([1,,2])", "[1, undefined, 2]"), True),
        (call("fails()", "1"), False),
        (call("missing()", "1"), False),
    ]
    verdict = await run(pool, code, *(test for test, _ in tests))
    passed = [case.outcome is Outcome.PASSED for case in verdict.cases]
    assert passed == [right for _, right in tests], verdict.cases
    assert (verdict.outcome, verdict.total) == (Outcome.RUNTIME_ERROR, len(tests))
    assert (fault(verdict).type, fault(verdict).message, fault(verdict).line) == ("RangeError", "too far", 6)
    assert verdict.cases[1].message == "add(1, [2, 3]): expected 7, got 6"
    assert verdict.executed_lines == ()


async def test_exports_and_modules(pool: WorkerPool) -> None:
    common, module, default = await asyncio.gather(
        run(pool, "exports.twice = (x) => 2 * x", call("twice(2)", "4")),
        run(
            pool,
            "import { basename } from 'node:path'\nexport const base = (p) => basename(p)",
            call("base('a/b')", "'b'"),
        ),
        run(pool, "const one = await 1\nfunction f() { return one }", call("f()", "1")),
    )
    assert [verdict.outcome for verdict in (common, module, default)] == [Outcome.PASSED] * 3


async def test_standard_input_and_output(pool: WorkerPool) -> None:
    code = "const [a, b] = require('fs').readFileSync(0, 'utf8').split(' ').map(Number)\nconsole.log(a + b)"
    verdict = await run(pool, code, stdio("1 2", "3\n"), stdio("1 2", "4"), stdio("0.1 0.2", "0.3"))
    assert [case.outcome for case in verdict.cases] == [Outcome.PASSED, Outcome.FAILED_TEST, Outcome.PASSED]
    assert (verdict.cases[1].expected, verdict.cases[1].actual) == ("4", "3\n")


async def test_long_output_is_whole_even_when_the_program_exits(pool: WorkerPool) -> None:
    code = "process.stdout.write('y'.repeat(1000000)); process.exit(0)"
    assert (await run(pool, code, stdio("", "y" * 1_000_000))).outcome is Outcome.PASSED


async def test_a_program_without_tests_is_loaded(pool: WorkerPool) -> None:
    good, bad = await asyncio.gather(run(pool, "console.log(1)"), run(pool, "nothing()"))
    assert (good.outcome, good.total, good.stdout) == (Outcome.PASSED, 0, "1\n")
    assert (bad.outcome, fault(bad).type) == (Outcome.RUNTIME_ERROR, "ReferenceError")


async def test_syntax_errors_are_compile_errors(pool: WorkerPool) -> None:
    for tests in ([stdio("", ""), stdio("", "")], [call("x", "1")]):
        verdict = await run(pool, "let y = 1\nlet x = ;", *tests)
        assert verdict.outcome is Outcome.COMPILE_ERROR
        assert {case.outcome for case in verdict.cases} == {Outcome.COMPILE_ERROR}
        assert (fault(verdict).type, fault(verdict).line, fault(verdict).span) == ("SyntaxError", 2, (2, 8, 2, 9))
    parsed = await run(pool, "JSON.parse('{')", stdio("", ""))
    assert (parsed.outcome, fault(parsed).type) == (Outcome.RUNTIME_ERROR, "SyntaxError")


async def test_exceptions_tell_class_message_and_place(pool: WorkerPool) -> None:
    code = "function f() {\n  throw new TypeError('boom')\n}\nf()"
    for tests in ([stdio("", "")], [call("f()", "1")]):
        verdict = await run(pool, code, *tests, prelude="var given = 1\nvar more = 2")
        assert verdict.outcome is Outcome.RUNTIME_ERROR
        assert (fault(verdict).type, fault(verdict).message, fault(verdict).line) == ("TypeError", "boom", 2)
        assert "at f (program.js:2:9)" in fault(verdict).traceback
        assert "node:internal" not in fault(verdict).traceback


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("throw 5", "thrown: 5"),
        ("process.exit(3)", "the program ended with status 3"),
        ("Promise.reject(new Error('lost'))", "lost"),
        ("throw new Error('two\\nlines')", "two\nlines"),
        ("await new Promise(() => {})", "the program ended with status 13"),
    ],
)
async def test_other_ways_to_fail(pool: WorkerPool, code: str, message: str) -> None:
    verdict = await run(pool, code, stdio("", ""))
    assert (verdict.outcome, fault(verdict).message) == (Outcome.RUNTIME_ERROR, message)


async def test_limits(pool: WorkerPool) -> None:
    loop, sleep, heap, buffers, flood = await asyncio.gather(
        run(pool, "while (true) {}", stdio("", ""), limits=SHORT),
        run(pool, "setTimeout(() => {}, 1e6)", stdio("", ""), limits=Limits(cpu_seconds_per_test=0.1)),
        run(pool, "const a = []; while (true) a.push({x: [1]})", stdio("", ""), limits=Limits(memory_mb=32)),
        run(
            pool, "const a = []; while (true) a.push(Buffer.alloc(1e7, 1))", stdio("", ""), limits=Limits(memory_mb=64)
        ),
        run(pool, "while (true) console.log('x'.repeat(1e5))", stdio("", "")),
    )
    assert [loop.outcome, sleep.outcome] == [Outcome.TIMEOUT] * 2
    assert [heap.outcome, buffers.outcome] == [Outcome.MEMORY_LIMIT] * 2
    assert flood.outcome is Outcome.OUTPUT_LIMIT


async def test_limits_of_calls_leave_the_other_calls(pool: WorkerPool) -> None:
    code = "function f(x) { while (x) {} return 1 }\nfunction hog() { const a = []; while (true) a.push({x: [1]}) }"
    limits = Limits(cpu_seconds_per_test=0.3, cpu_seconds=5, memory_mb=32)
    verdict = await run(pool, code, call("f(1)", "1"), call("f(0)", "1"), limits=limits)
    assert [case.outcome for case in verdict.cases] == [Outcome.TIMEOUT, Outcome.PASSED]
    verdict = await run(pool, code, call("hog()", "1"), call("f(0)", "1"), limits=Limits(memory_mb=32))
    assert [case.outcome for case in verdict.cases] == [Outcome.MEMORY_LIMIT, Outcome.PASSED]


async def test_walls(pool: WorkerPool) -> None:
    code = """
const { spawnSync, fork } = require('child_process')
const fs = require('fs')
const tried = (f) => { try { return f() } catch (e) { return e.code } }
console.log(spawnSync('/usr/bin/node', ['-v']).error.code)
console.log(tried(() => fs.writeFileSync('/usr/x', '')), tried(() => fs.readFileSync('/etc/passwd')))
console.log(tried(() => fs.readdirSync('/proc')), tried(() => fs.readFileSync('/usr/bin/g++')))
console.log(tried(() => process.setuid(0)), tried(() => process.kill(0, 0)))
fs.writeFileSync('/tmp/own', 'ok'); console.log(fs.readFileSync('/tmp/own', 'utf8'))
require('net').connect(80, '127.0.0.1').on('error', (e) => console.log(e.code))
"""
    expected = "EPERM\nEROFS ENOENT\nENOENT ENOENT\nEPERM true\nok\nEPERM\n"
    verdict = await run(pool, code, stdio("", expected))
    assert verdict.outcome is Outcome.PASSED, verdict.stdout + verdict.stderr


NATIVE = """
#include <cstdio>
#include <sys/mman.h>
#include <unistd.h>
static void* map(int flags, int fd) { return mmap(nullptr, 1 << 30, PROT_READ | PROT_WRITE, flags, fd, 0); }
__attribute__((constructor)) static void attack() {
  printf("%d %d ", map(MAP_SHARED | MAP_ANONYMOUS, -1) == MAP_FAILED,
         map(MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN, -1) == MAP_FAILED);
  printf("%d %d\\n", map(MAP_PRIVATE | MAP_ANONYMOUS, -1) == MAP_FAILED, fork());
  fflush(stdout);
}
"""


@pytest.fixture
def attack(tmp_path: Path) -> str:
    """NATIVE as an add-on of node, in base64."""
    if shutil.which("g++") is None:
        pytest.skip("no g++ to make the attack with")
    (tmp_path / "attack.cpp").write_text(NATIVE)
    subprocess.run(["g++", "-shared", "-fPIC", "-o", "attack.node", "attack.cpp"], cwd=tmp_path, check=True)
    return b64encode((tmp_path / "attack.node").read_bytes()).decode()


async def test_native_code_in_node_gets_no_memory_that_is_not_counted(pool: WorkerPool, attack: str) -> None:
    code = f"""
require('fs').writeFileSync('/tmp/attack.node', Buffer.from('{attack}', 'base64'))
try {{ process.dlopen({{ exports: {{}} }}, '/tmp/attack.node') }} catch {{}}
"""
    verdict = await run(pool, code, stdio("", "1 1 1 -1"))
    assert verdict.outcome is Outcome.PASSED, verdict.stdout + verdict.stderr


async def test_random_numbers_are_the_same_unless_flakiness_is_asked_for(pool: WorkerPool) -> None:
    once, again = [(await run(pool, "console.log(Math.random())", stdio("", "0"))).stdout for _ in range(2)]
    assert once == again
    code = f"console.log(String(Math.random()) === '{once.strip()}')"
    verdict = await pool.run(code, [stdio("", "true")], language="javascript", flaky_check=True)
    assert (verdict.outcome, verdict.flaky) == (Outcome.FAILED_TEST, True)
