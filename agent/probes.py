"""Inputs that tell programs apart: neighbours of the inputs that the visible tests use.

S* (arXiv 2502.14382) lets the model make them; these cost no tokens. Nobody knows the right answers to them: programs
are compared by theirs.
"""

from __future__ import annotations

import ast
import contextlib
import random
from collections.abc import Callable, Iterator, Sequence

from agent.examples.values import is_constant
from memory.records import AssertTest, CallTest, ProbeTest, StdioTest, Test
from memory.syntax import parse

MAX_PROBES = 24
_TRIES = 12
"""Neighbours looked for per probe: many repeat one that is there already."""
_MAX_CHARS = 400
"""A longer call is no probe: growth by doubling has no natural end."""


def probes(tests: Sequence[Test], entry_point: str | None, seed: int = 0) -> tuple[ProbeTest, ...]:
    """At most `MAX_PROBES` inputs that are none of the tests' own, the same for the same tests and seed."""
    rng = random.Random(seed)
    calls = [call for test in tests for call in _calls(test, entry_point)]
    if calls:
        return _unique(_around(calls, rng), {ast.unparse(call) for call in calls}, lambda text: ProbeTest(call=text))
    inputs = [test.stdin for test in tests if isinstance(test, StdioTest)]
    return _unique(_numbers_changed(inputs, rng), set(inputs), lambda text: ProbeTest(stdin=text))


def _unique(texts: Iterator[str], used: set[str], make: Callable[[str], ProbeTest]) -> tuple[ProbeTest, ...]:
    made: list[ProbeTest] = []
    for _, text in zip(range(MAX_PROBES * _TRIES), texts, strict=False):
        if text not in used and len(text) <= _MAX_CHARS:
            used.add(text)
            made.append(make(text))
        if len(made) == MAX_PROBES:
            break
    return tuple(made)


def _calls(test: Test, entry_point: str | None) -> Iterator[ast.Call]:
    """The first call of the entry point, or of a method of it, with literal arguments."""
    if not isinstance(test, AssertTest | CallTest):
        return
    tree = parse(test.call if isinstance(test, CallTest) else test.source)
    for node in ast.walk(tree) if tree is not None else ():
        if not (isinstance(node, ast.Call) and _calls_it(node.func, entry_point)):
            continue
        arguments = _arguments(node)
        named = all(keyword.arg is not None for keyword in node.keywords)
        if arguments and named and all(map(is_constant, arguments)):
            yield node
            return


def _calls_it(function: ast.expr, entry_point: str | None) -> bool:
    """`f`, or `Class().method`."""
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Call):
        function = function.value.func
    return isinstance(function, ast.Name) and function.id == entry_point


def _arguments(call: ast.Call) -> list[ast.expr]:
    return [*call.args, *(keyword.value for keyword in call.keywords)]


def _around(calls: Sequence[ast.Call], rng: random.Random) -> Iterator[str]:
    """Endlessly: one of the calls with one argument changed, or with one argument of another call."""
    pool = [[ast.literal_eval(argument) for argument in _arguments(call)] for call in calls]
    while True:
        place = rng.randrange(len(calls))
        values = list(pool[place])
        index = rng.randrange(len(values))
        others = [other for other in pool if len(other) == len(values)]
        if len(others) > 1 and rng.random() < 0.2:
            values[index] = rng.choice(others)[index]
        for _ in range(rng.choice((1, 1, 2))):
            values[index] = _neighbour(values[index], rng)
        with contextlib.suppress(ValueError):  # a whole number too long to print
            yield _spelled(calls[place], values)


def _spelled(call: ast.Call, values: Sequence[object]) -> str:
    positional = [repr(value) for value in values[: len(call.args)]]
    named = [f"{one.arg}={value!r}" for one, value in zip(call.keywords, values[len(call.args) :], strict=True)]
    return f"{ast.unparse(call.func)}({', '.join([*positional, *named])})"


def _neighbour(value: object, rng: random.Random) -> object:
    """A value of the same type: what a function that takes one should take too."""
    match value:
        case bool():
            return not value
        case int():
            return _integer(value, rng)
        case float():
            return rng.choice((value + 1, value - 1, value / 2, 0.0, -value))
        case str():
            return _string(value, rng)
        case list():
            return _sequence(value, rng)
        case tuple():
            return tuple(_sequence(list(value), rng, same_length=len({type(part) for part in value}) > 1))
        case set() | frozenset():
            return type(value)(_sequence(sorted(value, key=repr), rng))
        case dict():
            return _mapping(value, rng)
        case _:
            return value


def _integer(value: int, rng: random.Random) -> int:
    """Never negative where the example is not: that is what most statements mean and few say."""
    small = rng.choice((value + 1, value - 1, value + 2, value * 2, value // 2, rng.randint(0, 10), value + 10, 0, 1))
    return small if value < 0 else abs(small)


def _string(value: str, rng: random.Random) -> str:
    if not value:
        return rng.choice(("a", "ab", "A b"))
    place = rng.randrange(len(value))
    return rng.choice(
        (
            value[:place] + value[place + 1 :],
            value[:place] + rng.choice(value) + value[place:],
            value[:place] + rng.choice(value) + value[place + 1 :],
            value[::-1],
            value + value,
            value[: (len(value) + 1) // 2],
            value.swapcase(),
            value[0],
            " ".join(reversed(value.split(" "))),
        )
    )


def _sequence(value: list[object], rng: random.Random, *, same_length: bool = False) -> list[object]:
    if not value:
        return []
    place = rng.randrange(len(value))
    changed = [*value[:place], _neighbour(value[place], rng), *value[place + 1 :]]
    if same_length:
        return changed
    return rng.choice(
        (
            changed,
            changed,
            [*value[:place], *value[place + 1 :]],
            [*value[:place], value[place], *value[place:]],
            [*value, rng.choice(value)],
            value[::-1],
            rng.sample(value, len(value)),
            value[:1],
            [*value, *changed],
        )
    )


def _mapping(value: dict[object, object], rng: random.Random) -> dict[object, object]:
    if not value:
        return {}
    key = rng.choice(list(value))
    less = {other: held for other, held in value.items() if other != key}
    return rng.choice((less, {**value, key: _neighbour(value[key], rng)}, {**less, _neighbour(key, rng): value[key]}))


def _numbers_changed(inputs: Sequence[str], rng: random.Random) -> Iterator[str]:
    """Endlessly: one of the inputs with one number beyond its first line changed; counts mostly stand in the first."""
    while inputs:
        head, newline, rest = rng.choice(inputs).partition("\n")
        words = (rest if newline and rest.strip() else head).split(" ")
        numbers = [place for place, word in enumerate(words) if word.strip().lstrip("-").isdecimal()]
        if not numbers:
            yield head + newline + rest
            continue
        place = rng.choice(numbers)
        blank = words[place][len(words[place].rstrip()) :]
        words[place] = f"{_integer(int(words[place]), rng)}{blank}"
        changed = " ".join(words)
        yield head + newline + changed if newline and rest.strip() else changed + newline + rest
