"""Honest programs that a careless sandbox would reject."""

from __future__ import annotations

import pytest

from agent.sandbox.pool import WorkerPool
from memory.records import AssertTest, CodeTest, Outcome, StdioTest, Test

pytestmark = pytest.mark.asyncio(loop_scope="session")

PROGRAMS = {
    "asyncio": ("import asyncio\nasync def g(x):\n    await asyncio.sleep(0.001)\n    return x\ndef f(x): return asyncio.run(g(x))", "assert f(1) == 1"),
    "threads": ("from concurrent.futures import ThreadPoolExecutor as P\ndef f(n):\n    with P(8) as p: return sum(p.map(abs, range(n)))", "assert f(4) == 6"),
    "locks": ("import threading\ndef f():\n    r = []\n    t = [threading.Thread(target=r.append, args=(i,)) for i in range(20)]\n    [x.start() for x in t]\n    [x.join() for x in t]\n    return sorted(r)", "assert f() == list(range(20))"),
    "files": ("import tempfile, os\ndef f():\n    open('a', 'w').write('b')\n    with tempfile.TemporaryDirectory() as d: return open('a').read() + str(len(os.listdir(d)))", "assert f() == 'b0'"),
    "recursion": ("def f(n): return 0 if n == 0 else 1 + f(n - 1)", "assert f(900) == 900"),
    "deep recursion": ("import sys\nsys.setrecursionlimit(10**5)\ndef f(n): return 0 if n == 0 else 1 + f(n - 1)", "assert f(5000) == 5000"),
    "dataclass": ("from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\n    y: int = 2\ndef f(a): return P(a)", "assert f(1) == P(1, 2) and f(1) != P(1, 3) and f(1).y == 2 and [f(1)] == [P(1)]"),
    "named tuple": ("from collections import namedtuple\nP = namedtuple('P', 'x y')\ndef f(): return P(1, 2)", "r = f()\nassert r == (1, 2) and r.x == 1 and r == P(1, 2)"),
    "named tuple literal": ("from typing import NamedTuple\nclass P(NamedTuple):\n    x: int\ndef f(): return P(1)", "assert f() == (1,)"),
    "enum": ("from enum import Enum, IntEnum\nclass C(Enum):\n    RED = 1\nclass I(IntEnum):\n    ONE = 1\ndef f(): return C.RED\ndef g(): return I.ONE", "assert f() == C.RED and f() is not None and g() == 1 and f().name == 'RED' and f() != 1"),
    "generator": ("def f(n):\n    for i in range(n): yield i", "g = f(3)\nassert next(g) == 0 and list(g) == [1, 2] and list(f(2)) == [0, 1]"),
    "endless generator": ("def f():\n    n = 0\n    while True:\n        n += 1\n        yield n", "g = f()\nassert [next(g) for _ in range(5)] == [1, 2, 3, 4, 5]"),
    "counter": ("from collections import Counter, defaultdict, OrderedDict, deque\ndef f(s): return Counter(s)\ndef g():\n    d = defaultdict(int)\n    d['a'] += 1\n    return d\ndef h(): return deque([1])", "assert f('aab') == {'a': 2, 'b': 1}\nassert g() == {'a': 1} and list(h()) == [1]"),
    "class api": ("class Stack:\n    def __init__(self): self.items = []\n    def push(self, x): self.items.append(x)\n    def pop(self): return self.items.pop()\n    def __len__(self): return len(self.items)\n    def __contains__(self, x): return x in self.items\n    def __iter__(self): return iter(self.items)\n    def __getitem__(self, i): return self.items[i]\n    @property\n    def top(self): return self.items[-1]", "s = Stack()\ns.push(1)\ns.push(2)\nassert len(s) == 2 and s.top == 2 and 1 in s and list(s) == [1, 2] and s[0] == 1 and s.pop() == 2 and isinstance(s, Stack) and s"),
    "operators": ("class V:\n    def __init__(self, x): self.x = x\n    def __add__(self, o): return V(self.x + o.x)\n    def __mul__(self, k): return V(self.x * k)\n    __rmul__ = __mul__\n    def __eq__(self, o): return self.x == o.x\n    def __lt__(self, o): return self.x < o.x\n    def __repr__(self): return f'V({self.x})'\n    def __neg__(self): return V(-self.x)", "assert V(1) + V(2) == V(3) and V(2) * 3 == V(6) and 3 * V(2) == V(6) and V(1) < V(2) and repr(-V(1)) == 'V(-1)' and V(1) != V(2)"),
    "inheritance": ("class A:\n    n = 1\n    def who(self): return 'A'\nclass B(A):\n    def who(self): return 'B' + super().who()", "assert B().who() == 'BA' and issubclass(B, A) and isinstance(B(), A) and B.n == 1"),
    "context manager": ("class C:\n    def __enter__(self): return 5\n    def __exit__(self, *a): return False", "with C() as c:\n    x = c\nassert x == 5"),
    "mutation": ("def f(a, d, s):\n    a.sort()\n    a[0] = [a[0]]\n    d['k'] = 1\n    s.add(3)", "a, d, s = [2, 1], {}, set()\nf(a, d, s)\nassert a == [[1], 2] and d == {'k': 1} and s == {3}"),
    "nested mutation": ("def f(grid):\n    grid[0][1] = 9", "row = [1, 2]\ngrid = [row]\nf(grid)\nassert row == [1, 9] and grid == [[1, 9]]"),
    "callback": ("def f(g, xs): return [g(x) for x in xs]\ndef h(key, xs): return sorted(xs, key=key)", "n = []\nassert f(lambda x: x * 2, [1, 2]) == [2, 4] and h(abs, [-2, 1]) == [1, -2] and f(n.append, [1]) == [None] and n == [1]"),
    "callback error": ("def f(g):\n    try: g()\n    except ZeroDivisionError: return 'caught'", "def bad(): return 1 // 0\nassert f(bad) == 'caught'"),
    "closures": ("def f(n): return lambda x: x + n", "assert f(2)(3) == 5"),
    "types as arguments": ("def f(v, t): return isinstance(v, t)", "assert f(1, int) and not f('a', int)"),
    "own exception": ("class Low(ValueError):\n    def __init__(self, n):\n        super().__init__(n)\ndef f(n): raise Low(n)", "try:\n    f(3)\n    ok = False\nexcept Low as e:\n    ok = e.args == (3,) and isinstance(e, ValueError)\nassert ok"),
    "unicode": ("def größe(s): return s[::-1] + 'é\\ud800'", "x = größe('añ')\nassert x == 'ñaé\\ud800'"),
    "big numbers": ("def f(): return 3 ** 20000", "assert f() == 3 ** 20000"),
    "special values": ("import decimal, fractions, datetime\ndef f(): return [decimal.Decimal('1.5'), fractions.Fraction(1, 3), datetime.date(2020, 1, 2), 1j, b'x', frozenset({1}), range(3), -0.0, None, ...]", "import decimal, fractions, datetime\nr = f()\nassert r[:9] == [decimal.Decimal('1.5'), fractions.Fraction(1, 3), datetime.date(2020, 1, 2), 1j, b'x', frozenset({1}), range(3), 0.0, None]"),
    "standard library": ("import uuid, secrets, sqlite3, zoneinfo, hashlib, datetime, csv, json, re, statistics\ndef f():\n    c = sqlite3.connect(':memory:')\n    return c.execute('select 1 + 1').fetchone()[0], datetime.datetime.strptime('2020-01-02', '%Y-%m-%d').day, len(secrets.token_hex(2)), len(str(uuid.uuid4()))", "assert f() == (2, 2, 4, 36)"),
    "global state": ("count = 0\ndef f():\n    global count\n    count += 1\n    return count", "assert f() == 1 and f() == 2"),
    "lru cache": ("from functools import lru_cache\n@lru_cache(None)\ndef f(n): return n if n < 2 else f(n - 1) + f(n - 2)", "assert f(80) == 23416728348467685"),
    "imports of the program": ("import math\nfrom collections import Counter\nfrom typing import List\ndef f(): return 4.0", "assert f() == math.sqrt(16) and Counter('a') == {'a': 1}"),
    "name of a builtin": ("def sum(a, b): return a + b + 100", "assert True"),
    "module constant": ("LIMIT = {'a': [1, 2]}\ndef f(): return LIMIT", "assert LIMIT == {'a': [1, 2]} and f() == LIMIT"),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
async def test_accepted(pool: WorkerPool, name: str) -> None:
    code, source = PROGRAMS[name]
    verdict = await pool.run(
        code, [AssertTest(source=source) if "\n" not in source else CodeTest(source=source, runner="script")]
    )
    assert verdict.outcome is Outcome.PASSED, verdict.error


async def test_builtin_name_as_entry_point(pool: WorkerPool) -> None:
    check = CodeTest(source="def check(candidate):\n    assert candidate(1, 2) == 103\n", runner="check")
    tests: list[Test] = [check, AssertTest(source="assert sum(1, 2) == 103")]
    verdict = await pool.run("def sum(a, b): return a + b + 100", tests, entry_point="sum")
    assert verdict.outcome is Outcome.PASSED, verdict.error


async def test_statement_given_classes_travel_by_structure(pool: WorkerPool) -> None:
    prelude = (
        "class Node:\n    def __init__(self, val=0, next=None):\n        self.val = val\n        self.next = next\n"
        "def chain(values):\n    head = None\n    for value in reversed(values):\n        head = Node(value, head)\n    return head\n"
        "def values(node):\n    out = []\n    while node:\n        out.append(node.val)\n        node = node.next\n    return out\n"
    )
    code = (
        "class Solution:\n    def reverse(self, head):\n        last = None\n        while head:\n"
        "            head.next, last, head = last, head, head.next\n        return last\n"
        "    def change(self, head):\n        head.next = Node(7)\n"
    )
    own = "class Node:\n    def __init__(self, val=0, next=None):\n        self.val, self.next = val, next\n" + code
    source = (
        "def check(candidate):\n    assert values(candidate(chain([1, 2, 3]))) == [3, 2, 1]\n"
        "    assert values(candidate(chain(list(range(500))))) == list(range(500))[::-1]\n    assert candidate(None) is None\n"
        "    head = chain([1, 2])\n    Solution().change(head)\n    assert values(head) == [1, 7]\n"
        "check(Solution().reverse)"
    )
    for program in (code, own):
        verdict = await pool.run(
            program, [CodeTest(source=source, runner="check")], entry_point="Solution", prelude=prelude
        )
        assert verdict.outcome is Outcome.PASSED, verdict.error
        assert verdict.total == 4


async def test_numpy_where_installed(pool: WorkerPool) -> None:
    pytest.importorskip("numpy")
    code = "import numpy as np\ndef f(n): return np.arange(n)\ndef g(): return np.float64(0.5)\n"
    source = "import numpy as np\nassert np.array_equal(f(3), np.array([0, 1, 2]))\nassert g() == 0.5\nassert f(2).tolist() == [0, 1]"
    verdict = await pool.run(code, [CodeTest(source=source, runner="script")])
    assert verdict.outcome is Outcome.PASSED, verdict.error


async def test_large_input_and_output(pool: WorkerPool) -> None:
    code = "import sys\ndata = sys.stdin.read().split()\nprint(len(data))\nprint(' '.join(data))"
    text = " ".join(str(i) for i in range(150_000))
    verdict = await pool.run(code, [StdioTest(stdin=text, stdout=f"150000\n{text}\n")])
    assert verdict.outcome is Outcome.PASSED, verdict.error
