"""The watch over a promotion: a loss that is large and sure takes it back, luck does not."""

from __future__ import annotations

import random

import pytest

from server.adapters.settings import AdapterSettings
from server.adapters.watch import Ending, Watch


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def see(
    watch: Watch, version: str, count: int, *, verified: float = 0.6, failed: float = 0.0, seconds: float = 1.0
) -> None:
    """The given shares, evenly spread."""
    for number in range(count):
        broke = number < round(failed * count)
        passed = (number * 7) % count < round(verified * count)
        watch.saw(Ending(versions=(version, "base"), verified=None if broke else passed, failed=broke, seconds=seconds))


def watch_of(clock: Clock | None = None, **settings: float) -> Watch:
    return Watch(AdapterSettings.model_validate(settings), clock or Clock())


@pytest.mark.parametrize(
    ("after", "said"),
    [
        ({"verified": 0.2}, "20 % of its answers were verified, before 60 %"),
        ({"failed": 0.3}, "30 % of its answers failed, before 0 %"),
        ({"seconds": 2.5}, "took 2.5 s, before 1.0 s"),
    ],
)
def test_what_is_worse_is_taken_back(after: dict[str, float], said: str) -> None:
    watch = watch_of()
    see(watch, "base", 100)
    watch.promoted("actor", "actor@1")
    see(watch, "actor@1", 100, **after)
    found = watch.worse()
    assert list(found) == ["actor"] and said in found["actor"] and "actor@1 did worse" in found["actor"]
    assert watch.worse() == {}


@pytest.mark.parametrize("after", [{}, {"verified": 0.52}, {"seconds": 1.9}, {"failed": 0.05}, {"verified": 1.0}])
def test_what_is_as_good_stays(after: dict[str, float]) -> None:
    watch = watch_of()
    see(watch, "base", 100)
    watch.promoted("actor", "actor@1")
    see(watch, "actor@1", 100, **after)
    assert watch.worse() == {}


def test_few_answers_prove_nothing() -> None:
    watch = watch_of()
    see(watch, "base", 100)
    watch.promoted("actor", "actor@1")
    see(watch, "actor@1", 29, verified=0.0)
    assert watch.worse() == {}
    see(watch, "actor@1", 1, verified=0.0)
    assert watch.worse()


def test_answers_by_other_versions_do_not_count() -> None:
    watch = watch_of()
    see(watch, "base", 100)
    watch.promoted("actor", "actor@1")
    see(watch, "actor@9", 100, failed=1.0)
    assert watch.worse() == {}


def test_without_a_past_only_failures_tell() -> None:
    watch = watch_of()
    watch.promoted("actor", "actor@1")
    see(watch, "actor@1", 50, verified=0.0)
    assert watch.worse() == {}
    see(watch, "actor@1", 50, failed=1.0)
    assert "failed" in watch.worse()["actor"]


def test_two_promotions_are_watched_side_by_side() -> None:
    watch = watch_of()
    see(watch, "base", 100)
    watch.promoted("actor", "actor@1")
    see(watch, "actor@1", 20, failed=0.9)
    watch.promoted("critic", "critic@1")
    see(watch, "actor@1", 20, failed=0.9)
    assert list(watch.worse()) == ["actor"]


def test_the_watch_ends() -> None:
    clock = Clock()
    watch = watch_of(clock, watch_s=60)
    see(watch, "base", 100)
    watch.promoted("actor", "actor@1")
    clock.now = 61
    assert watch.worse() == {}
    see(watch, "actor@1", 100, failed=1.0)
    assert watch.worse() == {}
    off = watch_of(watch_s=0)
    off.promoted("actor", "actor@1")
    see(off, "actor@1", 100, failed=1.0)
    assert off.worse() == {}


def test_luck_seldom_rolls_back() -> None:
    """Both sides answer alike: the chance of a false alarm at a single look is a few percent."""
    generator = random.Random(7)
    alarms = 0
    for _ in range(300):
        watch = watch_of()
        for version in ("base", "actor@1"):
            if version == "actor@1":
                watch.promoted("actor", version)
            for _ in range(60):
                watch.saw(Ending(versions=(version,), verified=generator.random() < 0.5, failed=False, seconds=1.0))
        alarms += bool(watch.worse())
    assert alarms / 300 < 0.05
