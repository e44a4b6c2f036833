"""What every experience store must do: the battery that the fake and the durable store pass."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from memory.errors import StoreUnavailable
from memory.experience import ExperienceStore, Query, Selection
from memory.experience_store import DurableExperienceStore
from memory.records import Quality
from memory.words import failure_text
from tests.fakes import DictExperienceStore, HashingEmbedder
from tests.memory.experiences import lesson, solution

Battery = tuple[ExperienceStore, HashingEmbedder]


@pytest.fixture(params=["dict", "durable"])
async def battery(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Battery]:
    """A store and its embedder."""
    embedder = HashingEmbedder()
    store: ExperienceStore
    if request.param == "dict":
        store = DictExperienceStore(embedder)
    else:
        store = await DurableExperienceStore.open(tmp_path, embedder)
    yield store, embedder
    await store.aclose()


@pytest.fixture
def store(battery: Battery) -> ExperienceStore:
    return battery[0]


def ask(text: str, kind: Literal["solution", "lesson"] = "solution", **fields: Any) -> Query:
    return Query(**{"tenant": "local", "kind": kind, "text": text, **fields})


async def found(store: ExperienceStore, query: Query) -> list[str]:
    return [hit.experience.id for hit in await store.near(query)]


async def kept(store: ExperienceStore, selection: Selection | None = None) -> list[str]:
    return [experience.id async for experience in store.every(selection or Selection())]


async def test_what_was_added_is_found(store: ExperienceStore) -> None:
    first = solution(1, "reverse the words of a sentence", quality=Quality(style=0.5))
    assert await store.add([first, solution(2, "greatest common divisor")]) == 2
    [hit] = await store.near(ask("reverse the words of a sentence"))
    assert hit.experience == first
    assert hit.similarity == pytest.approx(1.0, abs=0.01)
    assert hit.usage.shown == 0


async def test_an_empty_store_finds_nothing(store: ExperienceStore) -> None:
    assert await found(store, ask("anything")) == []
    assert await store.add([]) == 0
    assert await store.withdraw(Selection(trajectory_id="unknown", tenant="local")) == 0
    assert await store.purge(Selection()) == 0
    await store.credit(["unknown"], helped=True)
    assert await kept(store) == []


async def test_the_same_id_is_the_same(store: ExperienceStore) -> None:
    assert await store.add([solution(1), replace(solution(2), id="solution-1")]) == 1
    assert await store.add([replace(solution(3), id="solution-1")]) == 0
    assert await kept(store) == ["solution-1"]


async def test_layout_and_comments_make_no_new_program(store: ExperienceStore) -> None:
    assert await store.add([solution(1, code="def f(x):\n    return x+1\n")]) == 1
    again = solution(1, id="b", code='def f( x ):\n    """Adds."""\n    # one\n    return (x + 1)\n')
    assert await store.add([again, replace(again, id="c")]) == 0
    assert await store.add([replace(again, id="d", code="def f(x):\n    return x + 2\n")]) == 1
    assert await store.add([replace(again, id="e", problem="another")]) == 1
    assert await store.add([replace(again, id="f", tenant="another")]) == 1


async def test_lessons_are_the_same_by_their_fix(store: ExperienceStore) -> None:
    first = lesson(1)
    moved = first.fix.replace("@@ -1 +1 @@", "@@ -7 +7 @@").replace("x + y", "x+y")
    assert await store.add([first, replace(first, id="b", fix=moved, code="other = 1")]) == 1
    assert await store.add([replace(first, id="c", fix="-a\n+b\n")]) == 1


async def test_nothing_is_better_than_something_wrong(store: ExperienceStore) -> None:
    await store.add([solution(1, "reverse the words of a sentence")])
    assert await found(store, ask("invert matrix quickly", words=("zebra",))) == []


async def test_a_literal_match_does_not_pass_the_floor_alone(store: ExperienceStore) -> None:
    await store.add([solution(1, "reverse the words of a sentence", signature="def rotate_left(x):")])
    assert await found(store, ask("invert matrix quickly", words=("rotate_left",))) == []


async def test_words_decide_between_equals(store: ExperienceStore) -> None:
    gist = "sort a list of numbers"
    await store.add(
        [
            solution(number, gist, signature=f"def sort_by_{name}(x):")
            for number, name in enumerate(("length", "weight", "colour"))
        ]
    )
    assert (await found(store, ask(gist, words=("sort_by_weight",))))[0] == "solution-1"


async def test_a_prompt_of_thousands_of_words(store: ExperienceStore) -> None:
    gist = "sort a list of numbers"
    await store.add([solution(1, gist)])
    assert await found(store, ask(gist, words=tuple(f"word_{number}" for number in range(50_000)))) == ["solution-1"]


async def test_kinds_and_tenants_do_not_mix(store: ExperienceStore) -> None:
    text = "reverse the words of a sentence"
    await store.add([solution(1, text), solution(2, text, tenant="other"), lesson(3)])
    assert await found(store, ask(text)) == ["solution-1"]
    assert await found(store, ask(text, tenant="other")) == ["solution-2"]
    assert await found(store, ask(text, tenant="local ")) == []
    assert await found(store, ask(text, kind="lesson")) == []


async def test_lessons_of_one_error(store: ExperienceStore) -> None:
    await store.add([lesson(1), lesson(2, error="KeyError", message="unsupported operand number_1")])
    text = failure_text("TypeError", "unsupported operand number_1", "return x + y_1")
    assert await found(store, ask(text, kind="lesson", error="KeyError")) == ["lesson-2"]
    assert await found(store, ask(text, kind="lesson")) == ["lesson-1", "lesson-2"]
    assert await found(store, ask(text, kind="lesson", error="IndexError")) == []


async def test_a_problem_can_be_left_out(store: ExperienceStore) -> None:
    text = "reverse the words of a sentence"
    await store.add([solution(1, text), solution(2, text)])
    assert await found(store, ask(text, without_problem="problem-1")) == ["solution-2"]


async def test_one_hit_for_each_problem(store: ExperienceStore) -> None:
    text = "reverse the words of a sentence"
    await store.add([solution(number, text, problem="same") for number in range(60)])
    await store.add([solution(100, text)])
    hits = await found(store, ask(text, limit=5))
    assert len(hits) == 2
    assert "solution-100" in hits


async def test_the_limit(store: ExperienceStore) -> None:
    text = "reverse the words of a sentence"
    await store.add([solution(number, text) for number in range(10)])
    assert len(await found(store, ask(text, limit=3))) == 3
    assert await found(store, ask(text, limit=0)) == []


async def test_what_does_not_help_sinks(store: ExperienceStore) -> None:
    text = "reverse the words of a sentence"
    await store.add([solution(1, text), solution(2, text)])
    first, second = await found(store, ask(text))
    for _ in range(3):
        await store.credit([first, "unknown"], helped=False)
        await store.credit([second], helped=True)
    assert await found(store, ask(text)) == [second, first]
    used = {hit.experience.id: hit.usage for hit in await store.near(ask(text))}
    assert (used[first].shown, used[first].helped, used[second].helped) == (3, 0, 3)
    stats = await store.stats()
    assert (stats.shown, stats.helped) == (6, 3)


async def test_a_rejected_answer_is_withdrawn(store: ExperienceStore) -> None:
    text = "reverse the words of a sentence"
    await store.add([solution(1, text), solution(2, text), lesson(3, trajectory_id="trajectory-1")])
    assert await store.withdraw(Selection(trajectory_id="trajectory-1", tenant="other")) == 0
    assert await store.withdraw(Selection(trajectory_id="trajectory-1", tenant="local")) == 2
    assert await found(store, ask(text)) == ["solution-2"]
    assert await store.add([solution(1, text)]) == 1
    assert set(await found(store, ask(text))) == {"solution-1", "solution-2"}


SELECTIONS: list[tuple[Selection, list[str]]] = [
    (Selection(), ["solution-1", "lesson-2", "solution-3", "solution-4"]),
    (Selection(tenant="local"), ["solution-1", "lesson-2", "solution-4"]),
    (Selection(tenant="nobody"), []),
    (Selection(trajectory_id="trajectory-3"), ["solution-3"]),
    (Selection(trajectory_id="trajectory-3", tenant="local"), []),
    (Selection(since=2.0), ["lesson-2", "solution-3", "solution-4"]),
    (Selection(until=2.0), ["solution-1"]),
    (Selection(since=2.0, until=4.0, tenant="local"), ["lesson-2"]),
]


@pytest.mark.parametrize(("selection", "expected"), SELECTIONS)
async def test_selections(store: ExperienceStore, selection: Selection, expected: list[str]) -> None:
    await store.add([solution(4), solution(1), lesson(2), solution(3, tenant="other")])
    assert await kept(store, selection) == expected
    assert await store.purge(selection) == len(expected)
    left = await kept(store)
    assert sorted([*left, *expected]) == sorted(await _all_ids())
    for number in (1, 4):
        gist = solution(number).gist
        assert (f"solution-{number}" in await found(store, ask(gist))) == (f"solution-{number}" in left)


async def _all_ids() -> list[str]:
    return ["solution-1", "lesson-2", "solution-3", "solution-4"]


async def test_stats(store: ExperienceStore) -> None:
    await store.add([solution(1), solution(2, tenant="other"), lesson(3)])
    stats = await store.stats()
    assert (stats.solutions, stats.lessons, stats.tenants, stats.model) == (2, 1, 2, "hashing")


async def test_texts_that_are_not_valid_unicode_come_back(store: ExperienceStore) -> None:
    odd = solution(1, "cut \ud800 half \x00 a pair", code="x = '\ud800'", tenant="te'; nant\ud83d")
    await store.add([odd])
    assert [experience async for experience in store.every(Selection())] == [odd]
    assert [hit.experience for hit in await store.near(ask(odd.gist, tenant=odd.tenant, words=(odd.code,)))] == [odd]


async def test_huge_texts_are_kept(store: ExperienceStore) -> None:
    huge = solution(1, "word " * 200_000 + "reverse")
    assert await store.add([huge]) == 1
    assert await found(store, ask("word reverse")) == ["solution-1"]


async def test_a_model_that_fails(battery: Battery) -> None:
    store, embedder = battery
    embedder.broken = True
    with pytest.raises(StoreUnavailable, match="broken"):
        await store.add([solution(1)])
    with pytest.raises(StoreUnavailable, match="broken"):
        await store.near(ask("anything"))
    embedder.broken = False
    assert await kept(store) == []
    assert await store.add([solution(1)]) == 1


async def test_many_callers_at_once(store: ExperienceStore) -> None:
    ids = range(40)
    added = await asyncio.gather(*(store.add([solution(number % 30), solution(number)]) for number in ids))
    assert sum(added) == len(await kept(store)) == 40
    calls: list[Callable[[], Any]] = []
    for number in ids:
        calls.append(lambda number=number: found(store, ask(solution(number).gist)))  # type: ignore[misc]
        calls.append(lambda number=number: store.credit([f"solution-{number}"], helped=True))  # type: ignore[misc]
    results = await asyncio.gather(*(call() for call in calls))
    assert all(f"solution-{number}" in results[2 * number] for number in ids)
    assert (await store.stats()).helped == 40
