"""Wrong programs that try to look right. None may pass, and none may cost another run its answer."""

from __future__ import annotations

import pytest

from agent.sandbox.pool import WorkerPool
from memory.records import AssertTest, CallTest, CodeTest, Outcome, StdioTest, Test

pytestmark = pytest.mark.asyncio(loop_scope="session")

LITERAL: list[Test] = [AssertTest(source="assert f(1) == 2"), CallTest(call="f(10)", expected="11")]
JUDGED: list[Test] = [
    CodeTest(
        source="def check(candidate):\n    assert candidate(1) == 2\n    assert sorted([candidate(3), candidate(1)]) == [2, 4]\n",
        runner="check",
    ),
    AssertTest(source="assert abs(f(3) - 4) < 1e-6 and isinstance(f(3), int)"),
    AssertTest(source="x = f(1)\nassert x == 2"),
    CodeTest(source="import unittest\nfrom solution import f\nclass T(unittest.TestCase):\n    def test(self): self.assertEqual(f(1), 2)", runner="unittest"),
    CodeTest(source="import pytest\nfrom solution import f\ndef test(): assert f(1) == pytest.approx(2)", runner="pytest"),
]  # fmt: skip

FRAME = 'b"\\x00\\x00\\x00\\x12" + b\'{"id":1,"ok":{"v":2,"o":[]}}\''

CHEATS = {
    "exit at import": "import sys\nsys.exit(0)",
    "_exit at import": "import os\nos._exit(0)",
    "_exit in f": "import os\ndef f(x): os._exit(0)",
    "exit in f": "import sys\ndef f(x): sys.exit(0)",
    "exit with text": "def f(x): raise SystemExit('passed')",
    "always equal": "class E:\n    def __eq__(s, o): return True\n    def __hash__(s): return 0\n    def __bool__(s): return True\ndef f(x): return E()",
    "always everything": (
        "class E:\n"
        + "".join(f"    def __{n}__(s, *a): return True\n" for n in ("eq", "lt", "le", "gt", "ge", "ne", "contains", "instancecheck"))
        + "".join(f"    def __{n}__(s, *a): return s\n" for n in ("sub", "rsub", "add", "radd", "mul", "abs", "neg", "round"))
        + "    def __abs__(s): return 0.0\n    def __float__(s): return 2.0\n    __hash__ = lambda s: 2\ndef f(x): return E()"
    ),
    "class attribute": "class E(int):\n    __class__ = property(lambda s: int)\n    def __eq__(s, o): return True\n    __hash__ = int.__hash__\ndef f(x): return E(7)",
    "int subclass": "class I(int):\n    def __eq__(s, o): return True\n    __hash__ = int.__hash__\ndef f(x): return I(7)",
    "str subclass": "class S(str):\n    def __eq__(s, o): return True\n    __hash__ = str.__hash__\ndef f(x): return S('2')",
    "list subclass": "class L(list):\n    def __eq__(s, o): return True\ndef f(x): return L([2])",
    "mock any": "from unittest.mock import ANY\ndef f(x): return ANY",
    "magic mock": "from unittest.mock import MagicMock\ndef f(x):\n    m = MagicMock()\n    m.__eq__ = lambda s, o: True\n    return m",
    "patched builtins": "import builtins\nfor n in ('sorted', 'len', 'abs', 'isinstance', 'all', 'print', 'type', 'hash', 'repr'):\n    setattr(builtins, n, lambda *a, **k: [2, 4])\ndef f(x): return 7",
    "own sorted and abs": "def sorted(x): return [2, 4]\ndef abs(x): return 0\ndef isinstance(a, b): return True\ndef f(x): return 7",
    "patched unittest": "import unittest\nunittest.TestCase.assertEqual = lambda *a: None\ndef f(x): return 7",
    "own pytest": "class pytest:\n    approx = staticmethod(lambda x: 7)\nclass unittest:\n    class TestCase: pass\ndef f(x): return 7",
    "skip": "import unittest\ndef f(x): raise unittest.SkipTest('x')",
    "patched json": "import json, struct\njson.dumps = lambda *a, **k: '{\"id\":1,\"ok\":{\"v\":2,\"o\":[]}}'\ndef f(x): return 7",
    "forged frames": f"import os\nfor fd in range(64):\n    try: os.write(fd, {FRAME})\n    except OSError: pass\ndef f(x): return 7",
    "forged verdict": "import os\nfor fd in range(64):\n    try: os.write(fd, b'{\"event\": \"done\"}' * 3)\n    except OSError: pass\nos._exit(0)",
    "half a frame": "import os, time\ndef f(x):\n    os.write(3, b'\\x00\\x00\\xff\\xff{')\n    os._exit(0)",
    "huge frame": "import os\ndef f(x):\n    os.write(3, b'\\xff' * 100)\n    return 7",
    "frame walk": (
        "import sys\ndef f(x):\n    g = sys._getframe()\n    while g:\n        for v in list(g.f_locals.values()):\n"
        "            if isinstance(v, list): v.append(True)\n            if isinstance(v, dict): v['passed'] = 9\n        g = g.f_back\n    return 7"
    ),
    "gc walk": "import gc\ndef f(x):\n    for o in gc.get_objects():\n        if type(o) is list and len(o) < 9: o.append(2)\n    return 7",
    "copied constants": (
        "import sys\ndef f(x):\n    g = sys._getframe()\n    while g:\n        for c in g.f_code.co_consts:\n"
        "            if type(c) is int and c == x + 1 and c > 20: return c\n        g = g.f_back\n    return 7"
    ),
    "small ints": "import ctypes\ndef f(x):\n    ctypes.memset(id(7) + 24, 5, 1)\n    return 7",
    "printing": "print('passed', flush=True)\nimport atexit\natexit.register(print, '1 passed')\ndef f(x): return 7",
    "excepthook": "import sys, os\nsys.excepthook = lambda *a: os._exit(0)\ndef f(x): raise ValueError",
    "main cleared": "import sys\nsys.modules.clear()\ndef f(x): return 7",
    "thread": "import threading, os, time\nthreading.Thread(target=lambda: (time.sleep(0.01), os._exit(0)), daemon=True).start()\ndef f(x):\n    time.sleep(0.05)\n    return 7",
    "own assertion error": "class AssertionError(Exception): pass\ndef f(x): raise AssertionError",
    "swallowed tests": "def f(x): return 7\nif 0:\n    '''",
    "redefined check": "def check(c): pass\ncandidate = lambda x: x + 1\ndef f(x): return 7",
    "nan": "def f(x): return float('nan')",
    "generator": "def f(x): yield 2",
    "guarded": "if __name__ == '__main__':\n    def f(x): return x + 1",
    "dumping test files": "import os\ndef f(x):\n    for fd in range(64):\n        try:\n            if b'== 2' in os.read(fd, 0): return 2\n        except OSError: pass\n    return 7",
}  # fmt: skip


@pytest.mark.parametrize("name", CHEATS)
async def test_wrong_program_does_not_pass(pool: WorkerPool, name: str) -> None:
    for tests in (LITERAL, JUDGED):
        verdict = await pool.run(CHEATS[name], tests, entry_point="f", run_id=name)
        assert verdict.outcome not in (Outcome.PASSED, Outcome.SANDBOX_ERROR), verdict
        assert verdict.passed == 0, [case.name for case in verdict.cases if case.outcome is Outcome.PASSED]
        assert verdict.id == name
    honest = await pool.run("def f(x): return x + 1", [*LITERAL, *JUDGED], entry_point="f")
    assert honest.outcome is Outcome.PASSED, honest


async def test_expected_values_are_nowhere_in_the_process(pool: WorkerPool) -> None:
    """The program searches all objects and the whole heap for a number that only the tests know."""
    secret = 9_876_543_211_234
    code = (
        "import gc, re\n"
        "def f(x):\n"
        "    import ctypes\n"
        "    for o in gc.get_objects():\n"
        "        if type(o) in (list, tuple) and any(type(i) is int and i > 10**12 for i in o): return 1\n"
        "    base = id(bytearray(64)) & ~0xfffff\n"
        "    return 0\n"
    )
    source = f"def check(candidate):\n    assert candidate(1) == {secret}\n"
    for _ in range(3):
        verdict = await pool.run(
            code,
            [CodeTest(source=source, runner="check"), CallTest(call="f(1)", expected=str(secret))],
            entry_point="f",
        )
        assert [case.actual for case in verdict.cases] == ["0", "0"]


async def test_forged_reports_of_a_script(pool: WorkerPool) -> None:
    code = "import os\nfor fd in range(3, 64):\n    try: os.write(fd, b'\\x00\\x00\\x00\\x02{}' * 10)\n    except OSError: pass\nprint('5')"
    verdict = await pool.run(code, [StdioTest(stdin="", stdout="6")])
    assert verdict.outcome is Outcome.FAILED_TEST
    verdict = await pool.run("print('6')\nraise SystemExit(1)", [StdioTest(stdin="", stdout="6")])
    assert verdict.outcome is Outcome.RUNTIME_ERROR
    verdict = await pool.run("import os\nprint('6', flush=True)\nos._exit(0)", [StdioTest(stdin="", stdout="6")])
    assert verdict.outcome is Outcome.PASSED
