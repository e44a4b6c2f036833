"""The bounded windows of recent feedback."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from memory.experience import Selection
from memory.recent import MAX_LINES, MAX_TEXT, Entry, Finding, Key, Recent, entries
from memory.records import (
    Attempt,
    Candidate,
    CaseResult,
    Fault,
    Outcome,
    Problem,
    Quality,
    Sampling,
    Trajectory,
    Verdict,
)

SESSION = Key(tenant="a", scope="session", name="talk")
FAMILY = Key(tenant="a", scope="family", name="talk")
FAILED = Entry(
    kind="test",
    text="f(1): expected 2, got 3",
    outcome=Outcome.FAILED_TEST,
    passed=1,
    total=2,
    error="failed_test",
    trajectory_id="t",
    attempt=0,
    consent=True,
    time=1000.0,
)


class Clock:
    """A clock that stands still until it is set."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def memory(*, entries: int = 4, windows: int = 3) -> Recent:
    return Recent(entries=entries, seconds=60, windows=windows, clock=Clock())


def numbers(window: tuple[Entry, ...]) -> list[int]:
    return [entry.attempt for entry in window]


def test_the_newest_are_kept() -> None:
    recent = memory()
    for number in range(10):
        recent.add([SESSION, FAMILY], [replace(FAILED, attempt=number)])
    recent.add([FAMILY], [replace(FAILED, attempt=number) for number in range(100, 110)])
    recent.add([SESSION], [])
    assert numbers(recent.recent(SESSION)) == [6, 7, 8, 9]
    assert numbers(recent.recent(FAMILY)) == [106, 107, 108, 109]


def test_the_old_are_forgotten() -> None:
    clock = Clock()
    recent = Recent(seconds=60, clock=clock)
    recent.add([SESSION], [FAILED, replace(FAILED, attempt=1, time=1030.0)])
    clock.now = 1061.0
    assert numbers(recent.recent(SESSION)) == [1]
    clock.now = 1100.0
    assert recent.recent(SESSION) == ()
    assert recent.recent(SESSION) == ()


def test_windows_are_apart() -> None:
    recent = memory()
    recent.add([SESSION], [FAILED])
    others = [
        FAMILY,
        replace(SESSION, tenant="b"),
        replace(SESSION, name="other"),
        replace(SESSION, tenant="a\0session", name="k"),
        Key(tenant="", scope="session", name="talk"),
    ]
    assert all(recent.recent(key) == () for key in others)
    assert recent.recent(SESSION) == (FAILED,)


def test_the_window_not_used_for_longest_goes() -> None:
    recent = memory(windows=3)
    keys = [replace(SESSION, name=str(number)) for number in range(4)]
    for key in keys[:3]:
        recent.add([key], [FAILED])
    recent.recent(keys[0])
    recent.add([keys[3]], [FAILED])
    assert [bool(recent.recent(key)) for key in keys] == [True, False, True, True]


def test_memory_is_bounded() -> None:
    recent = memory(entries=2)
    huge = "x" * 10_000_000
    recent.add(
        [replace(SESSION, name=huge + "\ud800")],
        [replace(FAILED, text=huge, error=huge, lines=tuple(range(10**6)))],
    )
    (kept,) = recent.recent(replace(SESSION, name=huge + "\ud800"))
    assert (len(kept.text), len(kept.error), len(kept.lines)) == (MAX_TEXT, MAX_TEXT // 2, MAX_LINES)


def test_a_support_set_is_attempts_that_may_be_trained_on() -> None:
    recent = memory(entries=8)
    secret = replace(FAILED, trajectory_id="u", consent=False)
    style = replace(FAILED, kind="style", text="F401", error="")
    recent.add([FAMILY], [FAILED, secret, replace(FAILED, attempt=1), style])
    support = recent.support(FAMILY)
    assert [(sample.trajectory_id, sample.attempt) for sample in support] == [("t", 0), ("t", 1)]
    assert support[0].entries == (FAILED, style)
    assert recent.support(SESSION) == ()


@pytest.mark.parametrize(
    ("selection", "left"),
    [
        (Selection(), []),
        (Selection(tenant="b"), [0, 1]),
        (Selection(tenant="a"), []),
        (Selection(tenant="a", trajectory_id="u"), [0]),
        (Selection(since=1001.0), [0]),
        (Selection(until=1001.0), [1]),
    ],
)
def test_purge(selection: Selection, left: list[int]) -> None:
    recent = memory()
    recent.add([SESSION, FAMILY], [FAILED, replace(FAILED, attempt=1, trajectory_id="u", time=1001.0)])
    assert recent.purge(selection) == 2 * (2 - len(left))
    assert numbers(recent.recent(SESSION)) == numbers(recent.recent(FAMILY)) == left


async def test_many_tasks_and_threads() -> None:
    recent = memory(entries=8, windows=5)

    def work(number: int) -> None:
        for turn in range(200):
            key = replace(SESSION, name=str((number + turn) % 7))
            recent.add([key, FAMILY], [replace(FAILED, attempt=turn)])
            assert len(recent.recent(key)) <= 8
            recent.support(FAMILY)
            recent.purge(Selection(tenant="a", trajectory_id="none"))

    await asyncio.gather(*(asyncio.to_thread(work, number) for number in range(4)))
    assert len(recent.recent(FAMILY)) == 8


def attempt(verdict: Verdict | None) -> Attempt:
    candidate = Candidate(
        text="x", code="x", code_start=0, prompt_ids=(), completion_ids=(), logprobs=(), prompt_tokens=1,
        completion_tokens=1, finish_reason="stop", sampling=Sampling(model="m", temperature=0.0),
    )  # fmt: skip
    return Attempt(candidate=candidate, verdict=verdict, origin="first", round=0)


def trajectory(*verdicts: Verdict | None) -> Trajectory:
    return Trajectory(
        id="t", problem=Problem(id="p", statement="s"), attempts=tuple(map(attempt, verdicts)), accepted=None,
        status="finished", model_version="m", tenant="a", consent=False, started=1.0, ended=2.0, rounds=0,
    )  # fmt: skip


def test_entries_of_a_trajectory() -> None:
    syntax = Fault(type="SyntaxError", message="invalid\nsyntax", line=3)
    index = Fault(type="IndexError", message="list index out of range", line=2, span=(2, 4, 40, 9))
    case = CaseResult(name="f(1) == 2", outcome=Outcome.FAILED_TEST, expected="2", actual="3" * 1000)
    made = entries(
        trajectory(
            Verdict(id="0", outcome=Outcome.COMPILE_ERROR, passed=0, total=2, error=syntax),
            None,
            Verdict(id="2", outcome=Outcome.SANDBOX_ERROR, passed=0, total=2),
            Verdict(id="3", outcome=Outcome.RUNTIME_ERROR, passed=1, total=2, error=index),
            Verdict(id="4", outcome=Outcome.FAILED_TEST, passed=1, total=2, cases=(case,)),
            Verdict(id="5", outcome=Outcome.TIMEOUT, passed=0, total=2),
            Verdict(id="6", outcome=Outcome.PASSED, passed=2, total=2),
        ),
        {6: (Quality(style=0.5), [Finding(kind="style", text="F401 `os` imported", line=1)])},
    )
    assert [(entry.attempt, entry.kind, entry.error) for entry in made] == [
        (0, "compiler", "SyntaxError"),
        (3, "test", "IndexError"),
        (4, "test", "failed_test"),
        (5, "test", "timeout"),
        (6, "test", ""),
        (6, "style", ""),
    ]
    assert [entry.text for entry in made[:2]] == ["invalid syntax", "list index out of range"]
    assert made[2].text.startswith("f(1) == 2: expected 2, got 333") and len(made[2].text) <= MAX_TEXT
    assert [entry.lines for entry in made] == [(3,), tuple(range(2, 10)), (), (), (), (1,)]
    assert made[4].text == "2 of 2 tests pass"
    assert {(entry.trajectory_id, entry.consent, entry.time) for entry in made} == {("t", False, 2.0)}
    assert made[5].quality == Quality(style=0.5)
