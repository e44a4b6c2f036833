"""Programs in C++: every outcome, and what a verdict tells of it."""

from __future__ import annotations

import asyncio

import pytest

from agent.sandbox.native.language import Language
from agent.sandbox.pool import WorkerPool
from memory.records import Fault, Limits, Outcome, Test, Verdict
from tests.agent.sandbox.native import machine
from tests.agent.sandbox.native.machine import SHORT, call, stdio

pytestmark = [pytest.mark.asyncio(loop_scope="session"), machine.needs(Language.CPP)]


async def run(pool: WorkerPool, code: str, *tests: Test, limits: Limits | None = None, prelude: str = "") -> Verdict:
    return await pool.run(code, tests, language="c++", limits=limits, prelude=prelude)


def fault(verdict: Verdict) -> Fault:
    assert verdict.error is not None
    return verdict.error


VALUES = """
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <unordered_set>
#include <variant>
#include <vector>
#define int long long
using namespace std;
int add(int a, vector<int> b) { for (int x : b) a += x; return a; }
map<string, vector<int>> table() { return {{"a", {1, 2}}, {"b", {}}}; }
set<int> ordered() { return {3, 1}; }
unordered_set<string> some() { return {"x", "y", "z"}; }
optional<double> maybe(bool has) { return has ? optional<double>(0.1) : nullopt; }
variant<int, string> either() { return "x"; }
tuple<int, char, bool> three() { return {1, 'c', true}; }
vector<bool> bits() { return {true, false}; }
struct Point { int x; } origin;
Point point() { return origin; }
unique_ptr<int> owner() { return nullptr; }
__int128 large() { return (__int128)1 << 100; }
void nothing() {}
string text() { return "h\\u00e9\\xff\\"\\n"; }
int range(int n) { return n; }
template <class T> T twice(T x) { return x + x; }
int fails() { throw out_of_range("too far"); }
int hog() { vector<vector<char>> v; for (;;) v.emplace_back(10000000, 1); }
signed main() {}
"""


async def test_calls_are_all_made_and_compared_by_value(pool: WorkerPool) -> None:
    tests = [
        (call("add(1, {2, 3})", "6"), True),
        (call("add(1, {2, 3})", "7"), False),
        (call("table()", '{"a": [1, 2], "b": []}'), True),
        (call("ordered()", "[1, 3]"), True),
        (call("some()", "['z', 'y', 'x']"), True),
        (call("some()", "['z', 'y', 'y']"), False),
        (call("maybe(true)", "0.1"), True),
        (call("maybe(false)", "null"), True),
        (call("either()", '"x"'), True),
        (call("three()", "(1, 'c', True)"), True),
        (call("three()", "[1, 'c', 1]"), False),
        (call("bits()", "{true, false}"), True),
        (call("point()", "{}"), False),
        (call("owner()", "null"), False),
        (call("large()", str(2**100)), True),
        (call("nothing()", "null"), True),
        (call("text()", '"h\\u00e9\\udcff\\"\\n"'), True),
        (call("range(3)", "3"), True),
        (call("twice(1.5f)", "3"), True),
        (call("max(1, 2)", "2"), True),
        (call("1 / 0.0", "Infinity"), True),
        (call("fails()", "1"), False),
    ]
    verdict = await run(pool, VALUES, *(test for test, _ in tests))
    passed = [case.outcome is Outcome.PASSED for case in verdict.cases]
    assert passed == [right for _, right in tests], verdict.cases
    assert (verdict.outcome, verdict.total) == (Outcome.RUNTIME_ERROR, len(tests))
    assert (fault(verdict).type, fault(verdict).message) == ("std::out_of_range", "too far")
    assert verdict.cases[1].message == "add(1, {2, 3}): expected 7, got 6"


async def test_calls_that_do_not_compile_leave_the_others(pool: WorkerPool) -> None:
    verdict = await run(pool, "int f(int x) { return x; }", call("f(1)", "1"), call("g(1)", "1"), call("f(2)", "2"))
    assert [case.outcome for case in verdict.cases] == [Outcome.PASSED, Outcome.COMPILE_ERROR, Outcome.PASSED]
    assert "was not declared" in (verdict.cases[1].message or "")
    verdict = await run(pool, "int f(int x) { return x; }", call("g(1)", "1"))
    assert verdict.outcome is Outcome.COMPILE_ERROR


async def test_a_call_that_kills_the_process_leaves_the_others(pool: WorkerPool) -> None:
    code = "#include <cstdlib>\nint f(volatile int x) { if (x == 1) *(volatile int*)0 = 1; if (x == 2) exit(0); while (x == 3) {} return x; }"
    limits = Limits(cpu_seconds_per_test=0.2, cpu_seconds=5)
    verdict = await run(pool, code, *(call(f"f({x})", str(x)) for x in range(5)), limits=limits)
    passed, crashed, timeout = Outcome.PASSED, Outcome.RUNTIME_ERROR, Outcome.TIMEOUT
    assert [case.outcome for case in verdict.cases] == [passed, crashed, crashed, timeout, passed]


async def test_standard_input_and_output(pool: WorkerPool) -> None:
    code = '#include <cstdio>\nint main() { double a, b; scanf("%lf %lf", &a, &b); printf("%g\\n", a + b); }'
    verdict = await run(pool, code, stdio("1 2", "3"), stdio("1 2", "4"), stdio("0.1 0.2", "0.3000001"))
    assert [case.outcome for case in verdict.cases] == [Outcome.PASSED, Outcome.FAILED_TEST, Outcome.PASSED]
    assert (verdict.cases[1].expected, verdict.cases[1].actual) == ("4", "3\n")


async def test_compile_errors_tell_the_place(pool: WorkerPool) -> None:
    code = "int main() {\n\tint x = missing(1);\n}\n"
    for tests in ([stdio("", ""), stdio("", "")], [call("1", "1")]):
        verdict = await run(pool, code, *tests, prelude="int given;")
        assert verdict.outcome is Outcome.COMPILE_ERROR
        assert {case.outcome for case in verdict.cases} == {Outcome.COMPILE_ERROR}
        assert (fault(verdict).type, fault(verdict).line, fault(verdict).span) == ("CompileError", 2, (2, 9, 2, 16))
        assert "program.cpp:2:10: error" in fault(verdict).traceback


async def test_link_errors_and_missing_headers(pool: WorkerPool) -> None:
    linked, header = await asyncio.gather(
        run(pool, "int f();\nint main() { return f(); }", stdio("", "")),
        run(pool, "#include <nothing.h>\nint main() {}", stdio("", "")),
    )
    assert (linked.outcome, fault(linked).type) == (Outcome.COMPILE_ERROR, "LinkError")
    assert fault(linked).message == "undefined reference to `f()'"
    assert (header.outcome, fault(header).line) == (Outcome.COMPILE_ERROR, 1)


async def test_a_program_must_include_what_it_uses(pool: WorkerPool) -> None:
    code = "int f(std::vector<int> x) { return 0; }"
    assert (await run(pool, code, call("f({})", "0"))).outcome is Outcome.COMPILE_ERROR


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        ("int* p = 0; *(volatile int*)p = 1;", "SIGSEGV", "ended by SIGSEGV"),
        ('throw std::runtime_error("bad");', "std::runtime_error", "bad"),
        ("assert(1 == 2);", "SIGABRT", "Assertion `1 == 2' failed"),
        ("abort();", "SIGABRT", "ended by SIGABRT"),
        ("return 3;", "SystemExit", "the program ended with status 3"),
        ("volatile int zero = 0; return 7 % zero;", "SIGFPE", "SIGFPE"),
    ],
)
async def test_crashes(pool: WorkerPool, body: str, kind: str, message: str) -> None:
    code = f"#include <cassert>\n#include <cstdlib>\n#include <stdexcept>\nint main() {{ {body} }}"
    verdict = await run(pool, code, stdio("", ""))
    assert (verdict.outcome, fault(verdict).type) == (Outcome.RUNTIME_ERROR, kind)
    assert message in fault(verdict).message


async def test_limits(pool: WorkerPool) -> None:
    loop, hog, held, flood, deep = await asyncio.gather(
        run(pool, "int main() { for (volatile int i = 0;;) i++; }", stdio("", ""), limits=SHORT),
        run(pool, "#include <vector>\nint main() { std::vector<char> v(1u << 30, 1); return v[5]; }", stdio("", "")),
        run(pool, VALUES, call("hog()", "1"), call("range(1)", "1")),
        run(pool, "#include <cstdio>\nint main() { for (;;) puts(\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"); }", stdio("", "")),
        run(pool, "int f(int x) { volatile char b[999]; b[0] = x; return f(x + 1) + b[0]; }\nint main() { return f(0); }",
            stdio("", "")),
    )  # fmt: skip
    assert loop.outcome is Outcome.TIMEOUT
    assert (hog.outcome, fault(hog).type) == (Outcome.MEMORY_LIMIT, "std::bad_alloc")
    assert [case.outcome for case in held.cases] == [Outcome.MEMORY_LIMIT, Outcome.PASSED]
    assert flood.outcome is Outcome.OUTPUT_LIMIT
    assert (deep.outcome, fault(deep).type) == (Outcome.RUNTIME_ERROR, "SIGSEGV")


async def test_a_program_that_never_ends_to_compile(pool: WorkerPool) -> None:
    code = "template <int N> struct F { static const int v = F<N - 1>::v + F<N - 2>::v; };\nint main() { return F<900>::v; }"
    verdict = await run(pool, "#pragma GCC optimize(0)\n" + code + '\n#include "program.cpp"', stdio("", ""))
    assert verdict.outcome is Outcome.COMPILE_ERROR


async def test_walls(pool: WorkerPool) -> None:
    code = """
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
int main() {
  printf("%d %d %d\\n", fork(), vfork(), socket(AF_INET, SOCK_STREAM, 0));
  printf("%d %d %d\\n", open("/etc/passwd", O_RDONLY), open("/usr/x", O_CREAT | O_WRONLY, 0600), open("/proc", O_RDONLY));
  printf("%d %d %d\\n", setuid(0), memfd_create("x", 0), system("true") == 0);
  printf("%d %d\\n", (int)write(3, "x", 1), (int)write(4, "x", 1));
  std::thread([] { puts("thread"); }).join();
  fflush(stdout);
  if (FILE* own = fopen("/tmp/own", "w")) puts("own"), fclose(own);
}
"""
    verdict = await run(pool, code, stdio("", "-1 -1 -1\n-1 -1 -1\n-1 -1 0\n-1 -1\nthread\nown\n"))
    assert verdict.outcome is Outcome.PASSED, verdict.stdout + verdict.stderr


async def test_a_program_that_becomes_another_one_gains_nothing(pool: WorkerPool) -> None:
    code = '#include <unistd.h>\nint main() { execl("/usr/bin/as", "as", "--version", (char*)0); return 9; }'
    verdict = await run(pool, code, stdio("", "1"))
    assert verdict.outcome is not Outcome.PASSED
