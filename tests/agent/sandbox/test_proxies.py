"""What test code in the judge can do with objects of the program, and what these cannot do to it."""

from __future__ import annotations

import pytest

from agent.sandbox.pool import WorkerPool
from memory.records import CodeTest, Outcome, Verdict

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def run(pool: WorkerPool, code: str, source: str, prelude: str = "") -> Verdict:
    return await pool.run(code, [CodeTest(source=source, runner="script")], entry_point="f", prelude=prelude)


async def outcomes(pool: WorkerPool, code: str, source: str, prelude: str = "") -> list[Outcome]:
    return [case.outcome for case in (await run(pool, code, source, prelude)).cases]


async def passes(pool: WorkerPool, code: str, source: str) -> None:
    verdict = await run(pool, code, source)
    assert verdict.total
    assert {case.name: case.message for case in verdict.cases if case.outcome is not Outcome.PASSED} == {}


AGREES = """
    def __init__(self, x): self.x = x
    def __sub__(self, other): return 0
    __rsub__ = __sub__
    def __lt__(self, other): return True
    __gt__ = __contains__ = startswith = issubset = __lt__
"""


@pytest.mark.parametrize(
    "code",
    [
        f"class f:{AGREES}",
        f"class Zero:{AGREES}\ndef f(x): return Zero(x)\n",
        f"class F:{AGREES}\nf = F\n",
        f"class Outer:\n  class f:{AGREES.replace(chr(10), chr(10) + '  ')}\nf = Outer.f\n",
    ],
    ids=["class", "function", "other name", "nested"],
)
async def test_results_of_a_function_never_see_what_is_expected(pool: WorkerPool, code: str) -> None:
    source = "x = f(5)\nassert abs(x - 6) < 1e-6\nassert abs(6 - x) < 1e-6\nassert 5 < x < 7\nassert 6 in x\n"
    source += "assert x.startswith('6')\nassert x.issubset({6})\n"
    assert Outcome.PASSED not in await outcomes(pool, code, source)


async def test_objects_that_the_test_makes_see_operands(pool: WorkerPool) -> None:
    code = """
class Vector:
    def __init__(self, *xs): self.xs = xs
    def __mul__(self, k): return Vector(*(x * k for x in self.xs))
    __rmul__ = __mul__
    def __eq__(self, other): return self.xs == other.xs
    def __lt__(self, n): return max(self.xs) < n
    def __contains__(self, x): return x in self.xs
    def issubset(self, xs): return set(self.xs) <= set(xs)
"""
    source = "v = Vector(1, 2)\nassert v * 3 == Vector(3, 6) and 3 * v == v * 3\nassert v < 5 and not v < 2\nassert 2 in v and v.issubset([2, 1])"
    await passes(pool, code, source)


async def test_attributes_never_hide_what_a_given_class_does(pool: WorkerPool) -> None:
    prelude = (
        "class Node:\n    def __init__(self, val): self.val = val\n    def same(self, o): return self.val == o.val\n"
    )
    source = "assert f(1).same(Node(2))\n"
    for hidden in ("node.same = lambda other: True", "node.__dict__['__dict__'] = {'same': lambda other: True}"):
        code = f"def f(x):\n    node = Node(1)\n    {hidden}\n    return node\n"
        assert Outcome.PASSED not in await outcomes(pool, code, source, prelude)


async def test_identity_and_types(pool: WorkerPool) -> None:
    code = """
class Dog:
    "Barks."
    one = None
    def __init__(self, name): self.name = name
    @classmethod
    def only(cls):
        cls.one = cls.one or cls("only")
        return cls.one
"""
    source = """
import collections.abc, copy
a, b = Dog("a"), Dog("b")
assert type(a) is type(b) and type(a).__name__ == "Dog" and type(a) == Dog and a.__class__ == Dog
assert type(a)("c").name == "c" and type(a).only() is Dog.only()
assert vars(a) == {"name": "a"} and Dog.__doc__ == "Barks."
assert not isinstance(a, collections.abc.Mapping) and isinstance(a, Dog)
c = copy.copy(a)
c.name = "c"
assert a.name == "a" and c is not a
"""
    await passes(pool, code, source)


async def test_generators_are_generators(pool: WorkerPool) -> None:
    code = """
closed = []
def f():
    got = 0
    try:
        while True:
            try:
                got = yield got
            except ValueError as error:
                got = str(error)
    finally:
        closed.append(1)
def is_closed(): return closed == [1]
def ends():
    yield 1
    return 5
"""
    source = """
import types
g = f()
assert isinstance(g, types.GeneratorType) and next(g) == 0 and g.send(3) == 3
assert g.throw(ValueError("told")) == "told"
g.close()
assert is_closed() and list(g) == []
def outer():
    global result
    result = yield from ends()
assert list(outer()) == [1] and result == 5
"""
    await passes(pool, code, source)


async def test_what_tests_await(pool: WorkerPool) -> None:
    code = """
import asyncio
lock = asyncio.Lock()
async def f(x):
    async with lock:
        await asyncio.sleep(0)
        if x < 0: raise ValueError(x)
        return x + 1
async def count(n):
    for i in range(n): yield i
class Context:
    async def __aenter__(self): return 5
    async def __aexit__(self, *details): return False
"""
    source = """
import asyncio
async def both():
    return await asyncio.gather(f(1), f(2))
async def collect():
    async with Context() as five:
        return [n async for n in count(3)] + [five]
assert asyncio.run(both()) == [2, 3]
assert asyncio.run(collect()) == [0, 1, 2, 5]
try:
    asyncio.run(f(-1))
    assert False
except ValueError as error:
    assert error.args == (-1,)
"""
    await passes(pool, code, source)


async def test_coroutines_run_at_the_same_time(pool: WorkerPool) -> None:
    code = """
import asyncio
log = []
async def slow(n):
    try:
        await asyncio.sleep(n)
    except asyncio.CancelledError:
        log.append("cancelled")
        raise
    log.append(n)
    return n
async def fail():
    await asyncio.sleep(0.01)
    raise LookupError("no")
class Later:
    def __await__(self): return slow(0).__await__()
def seen(): return list(log)
"""
    source = """
import asyncio, time
async def many():
    begun = time.monotonic()
    assert await asyncio.gather(slow(0.3), slow(0.2), slow(0.1)) == [0.3, 0.2, 0.1]
    return time.monotonic() - begun
took = asyncio.run(many())
assert took < 0.55 and seen() == [0.1, 0.2, 0.3]
async def cut():
    try: await asyncio.wait_for(slow(9), 0.02)
    except asyncio.TimeoutError: return "late"
assert asyncio.run(cut()) == "late" and seen()[-1] == "cancelled"
async def first():
    done, waiting = await asyncio.wait([asyncio.create_task(slow(5)), asyncio.create_task(slow(0.01))], return_when=asyncio.FIRST_COMPLETED)
    return [task.result() for task in done]
assert asyncio.run(first()) == [0.01]
async def failing(): return await asyncio.gather(fail(), slow(0), return_exceptions=True)
got = asyncio.run(failing())
assert type(got[0]) is LookupError and got[1] == 0
async def object(): return await Later()
assert asyncio.run(object()) == 0
"""
    await passes(pool, code, source)


async def test_objects_of_the_tests_are_themselves_again(pool: WorkerPool) -> None:
    code = """
def f(xs): return list(xs)
def size(xs): return len(xs), 3 in xs, xs[0]
def truth(g): return bool(g)
def back(g): return g
def first(lines): return next(lines)
"""
    source = """
import io, itertools
class Many:
    def __iter__(self): return iter([1, 2])
    def __len__(self): return 2
    def __contains__(self, x): return x == 3
    def __getitem__(self, i): return i + 9
assert f(Many()) == [1, 2] and size(Many()) == (2, True, 9)
assert f(x for x in "ab") == ["a", "b"] and f({1: 2}.items()) == [(1, 2)] and f(itertools.islice(itertools.count(), 2)) == [0, 1]
assert first(io.StringIO("a")) == "a" and truth(len) and truth(lambda: 0)
g, many = lambda: 0, Many()
assert back(g) is g and back([many])[0] is many
"""
    await passes(pool, code, source)


async def test_arguments_follow_the_program(pool: WorkerPool) -> None:
    code = """
from collections import deque
def f(queue): queue.rotate(1)
def swap(pair): pair[0].append(pair[1].pop())
class Sorter:
    def __init__(self, xs, *, seen): self.xs, self.seen = xs, seen
    def sort(self):
        self.xs.sort()
        self.seen.add("sort")
"""
    source = """
from collections import deque
q, inner = deque([1, [2]]), None
inner = q[1]
f(q)
assert list(q) == [[2], 1]
a, b = [], [1]
swap((a, b))
assert a == [1] and b == []
xs, seen = [2, 1], set()
s = Sorter(xs, seen=seen)
assert xs == [2, 1]
s.sort()
assert xs == [1, 2] and seen == {"sort"}
"""
    await passes(pool, code, source)


async def test_what_the_program_does_to_objects_of_the_tests(pool: WorkerPool) -> None:
    code = """
import asyncio, copy, inspect
def add(a, b): return a + b, b - a
def of(item): return item.left, str(item), hasattr(item, "nothing")
def bend(item):
    twin = copy.deepcopy(item)
    twin.left.append(1)
    item.right = twin
def places(items, item): return items.index(item), item in items, item in set(items)
def refused(item, name):
    try: return getattr(item, name)
    except AttributeError: return "refused"
async def gather(f, xs): return await asyncio.gather(*map(f, xs))
def is_async(f): return inspect.iscoroutinefunction(f), callable(f)
def same(f): return f
"""
    source = """
import asyncio, dataclasses
class Vector:
    def __init__(self, x): self.x = x
    def __add__(self, other): return Vector(self.x + other.x)
    def __sub__(self, other): return self.x - other.x
    def __repr__(self): return f"<{self.x}>"
    def __eq__(self, other): return self.x == other.x
    def __hash__(self): return hash(self.x)
class Pair:
    def __init__(self, left, right=None): self.left, self.right, self._own = left, right, 1
@dataclasses.dataclass
class Point:
    left: int
class Acting(Pair):
    def act(self): return self.left
made, less = add(Vector(1), Vector(2))
assert type(made) is Vector and made.x == 3 and less == 1
pair = Pair([])
assert of(pair)[0] is pair.left and of(pair)[2] is False
assert of(Point(5)) == (5, "Point(left=5)", False)
bend(pair)
assert pair.left == [] and pair.right.left == [1] and type(pair.right) is Pair
assert places([Vector(1), Vector(2)], Vector(2)) == (1, True, True)
assert refused(pair, "_own") == refused(pair, "nothing") == "refused"
acting = Acting(1)
assert refused(acting, "left") != 1 and refused(acting, "act")() == 1
async def double(x):
    await asyncio.sleep(0)
    return 2 * x
assert asyncio.run(gather(double, [1, 2])) == [2, 4] and is_async(double) == (True, True) and is_async(add) == (False, True)
assert same(double) is double and asyncio.run(same(double(4))) == 8
assert is_async(pair) == (False, False)
"""
    await passes(pool, code, source)


async def test_values_of_classes_below_built_in_ones(pool: WorkerPool) -> None:
    code = """
from collections import OrderedDict, defaultdict
class Stack(list):
    def peek(self): return self[-1]
    def append(self, x): super().append(x * 2)
    def __getitem__(self, i): return super().__getitem__(i % len(self))
class Cache(OrderedDict):
    limit = 2
    def put(self, key, value):
        self[key] = value
        if len(self) > self.limit: self.popitem(last=False)
class Tree(defaultdict):
    def __init__(self): super().__init__(Tree)
    def depth(self): return 1 + max((held.depth() for held in self.values()), default=0)
class Metres(float):
    def __add__(self, other): return Metres(float(self) + float(other))
    def __str__(self): return f"{float(self)} m"
    def feet(self): return self * 3.28
class Name(str):
    def shout(self): return self.upper() + "!"
def stack(xs): return Stack(xs)
def is_it(x): return type(x).__name__
held = Stack([1])
def one(): return held
"""
    source = """
import copy
made = Stack([1])
made.append(2)
assert made == [1, 4] and made.peek() == 4 and made[3] == 4 and len(made) == 2 and isinstance(made, list)
made.extend([5])
assert made.peek() == 5 and type(made).__name__ == "Stack" and isinstance(made, Stack) and is_it(made) == "Stack"
twin = copy.copy(made)
twin.append(1)
assert twin == [2, 8, 10, 2] and made == [1, 4, 5] and twin.peek() == 2
assert stack([1, 2])[1] == 2 and stack([3]).peek() == 3 and one() is one()
cache = Cache()
cache.put("a", 1), cache.put("b", 2), cache.put("c", 3)
assert dict(cache) == {"b": 2, "c": 3} and cache.popitem(last=False) == ("b", 2) and cache == {"c": 3}
cache.limit = 1
cache.put("d", 4)
assert list(cache) == ["d"]
tree = Tree()
tree["a"]["b"] = 5
tree.clear()
assert tree["a"]["b"] == {} and tree.depth() == 3 and tree == {"a": {"b": {}}}
far = Metres(1.5)
assert far + 1 == 2.5 and str(far + 1) == "2.5 m" and (far + 1).feet() == 8.2 and far * 2 == 3.0 and is_it(far) == "Metres"
assert Name("ann").shout() == "ANN!" and Name("ann") == "ann" and {Name("ann"): 1} == {"ann": 1}
"""
    await passes(pool, code, source)


LIES = """
class Lies:
    __eq__ = __contains__ = __lt__ = __gt__ = __le__ = __ge__ = __bool__ = lambda self, *other: True
    __ne__ = lambda self, other: False
    __hash__ = lambda self: hash(5)
    __len__ = __int__ = __index__ = __float__ = __abs__ = __getitem__ = __sub__ = __rsub__ = lambda self, *other: 0
    __iter__ = lambda self: iter(())
    __round__ = index = count = find = startswith = issubset = __and__ = __rand__ = get = lambda self, *other: self
class {name}(Lies, {plain}): pass
def f(x):
    return {name}({value})
"""


@pytest.mark.parametrize(
    ("plain", "value", "right"),
    [("list", "[x]", "[5]"), ("dict", "{x: x}", "{5: 5}"), ("set", "{x}", "{5}"), ("float", "x", "5.0"), ("int", "x", "5"),
     ("str", "'a'", "'b'")],
)  # fmt: skip
async def test_values_of_such_classes_compare_as_plain_ones(
    pool: WorkerPool, plain: str, value: str, right: str
) -> None:
    source = f"""
import pytest
from solution import f
def test_equal(): assert f(1) == {right}
def test_equal_reflected(): assert {right} == f(1)
def test_unequal(): assert not f(1) != {right}
def test_held(): assert [f(1)] == [{right}]
def test_found(): assert f(1) in ({right},)
def test_contains():
    if {right} not in ("b", 5, 5.0): assert 5 in f(1)
    else: assert not f(1) or {right} == f(1)
def test_close(): assert f(1) == pytest.approx({right}) if {right} == 5.0 else f(1) == {right}
def test_difference(): assert abs(f(1) - 5) < 1e-6 if {right} in (5, 5.0) else f(1) == {right}
"""
    code = LIES.format(name="Own", plain=plain, value=value)
    verdict = await pool.run(code, [CodeTest(source=source, runner="pytest")], entry_point="f")
    assert verdict.total == 8
    assert {case.name for case in verdict.cases if case.outcome is Outcome.PASSED} == set()


async def test_names_made_by_helpers_are_the_programs(pool: WorkerPool) -> None:
    code = "import functools, operator\nadd = functools.partial(operator.add, 1)\nsecond = operator.itemgetter(1)\n"
    await passes(pool, code, "assert add(1) == 2 and second([1, 2]) == 2\n")


async def test_a_star_import_never_changes_what_everybody_means(pool: WorkerPool) -> None:
    code = "class math:\n    isclose = lambda *a: True\ndef abs(x): return 0\ndef f(x): return 7\n"
    source = "import math\nfrom solution import *\nassert math.isclose(f(1), 2)\nassert abs(f(1) - 2) < 1e-6\n"
    assert await outcomes(pool, code, source) == [Outcome.FAILED_TEST] * 2


async def test_functions_and_classes_are_what_they_are(pool: WorkerPool) -> None:
    code = """
import abc, functools
from collections.abc import Sequence

class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self) -> float: ...
class Square(Shape):
    def __init__(self, side=1.0): self.side = side
    def area(self): return self.side ** 2
class Pair(Sequence):
    def __init__(self, *both): self.both = both
    def __getitem__(self, place): return self.both[place]
    def __len__(self): return 2
async def fetch(): pass
def counted(): yield 1
@functools.lru_cache
def cached(x): return x
joined = ", ".join
def f(x: int, *rest, y=2, **named): return x
"""
    source = """
import abc, inspect
from collections.abc import Mapping, Sequence, Sized
assert issubclass(Square, abc.ABC) and issubclass(Square, (int, Shape)) and not issubclass(Pair, Mapping)
assert inspect.isclass(Square) and inspect.isabstract(Shape) and not inspect.isabstract(Square)
assert isinstance(Square(), abc.ABC) and isinstance(Pair(1, 2), Sequence) and not isinstance(Square(), Sized)
assert issubclass(int, abc.ABC) is False and not inspect.isfunction(Square) and not inspect.isclass(f)
assert inspect.iscoroutinefunction(fetch) and inspect.isgeneratorfunction(counted)
assert not inspect.iscoroutinefunction(f)
assert not inspect.isfunction(cached) and not inspect.iscoroutinefunction(joined)
assert str(inspect.signature(cached)) == "(x)"
assert str(inspect.signature(f)) == "(x: int, *rest, y=2, **named)"
"""
    await passes(pool, code, source)


async def test_what_is_no_abstract_class_makes_no_object_more_than_it_is(pool: WorkerPool) -> None:
    code = """
import abc
class Own(abc.ABC): pass
Own.__module__, Own.__name__ = "collections.abc", "Mapping"
class f(Own): pass
"""
    source = "from collections.abc import Mapping\nx = f()\nassert not isinstance(x, Mapping)\n"
    await passes(pool, code, source)


async def test_functions_of_the_program_are_no_tests(pool: WorkerPool) -> None:
    code = "def f(x): return x\ndef test_always(): pass\nclass Test:\n    def test_this(self): pass\n"
    source = "from solution import *\nfrom solution import Test, test_always\ndef test_f(): assert f(1) == 2\n"
    source += "class TestF:\n    tested = f\n"
    verdict = await pool.run(code, [CodeTest(source=source, runner="pytest")], entry_point="f")
    assert [(case.name, case.outcome) for case in verdict.cases] == [("test_f", Outcome.FAILED_TEST)]
