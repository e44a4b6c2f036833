"""The window over fresh samples."""

from __future__ import annotations

from memory.records import Outcome
from training.buffer import Buffer, BufferSettings
from training.sample import TokenSample
from training.versions import version_number


def sample(name: str, version: str = "base") -> TokenSample:
    flags = (True,)
    return TokenSample(
        id=name,
        problem_id="p",
        family="p",
        policy_version=version,
        outcome=Outcome.PASSED,
        prompt_ids=(1,),
        completion_ids=(2,),
        behaviour_logprobs=(-1.0,),
        sampled=flags,
        program=flags,
        blamed=(False,),
        executed=flags,
    )


def names(buffer: Buffer) -> list[str]:
    return [one.id for one in buffer.samples]


def test_the_oldest_make_room() -> None:
    buffer = Buffer("base", BufferSettings(capacity=3))
    assert not buffer.full
    buffer = buffer.add([sample("a"), sample("b")], current=0)
    assert names(buffer) == ["a", "b"] and not buffer.full
    buffer = buffer.add([sample("c"), sample("d")], current=0)
    assert names(buffer) == ["b", "c", "d"] and buffer.full
    assert names(buffer.add([sample(name) for name in "efghi"], current=0)) == ["g", "h", "i"]


def test_what_is_too_old_leaves_when_the_policy_moves_on() -> None:
    settings = BufferSettings(capacity=9, max_lag=2)
    buffer = Buffer("base", settings).add(
        [sample("a"), sample("b", "actor@1"), sample("c", "actor@3"), sample("d", "stranger")], current=2
    )
    assert names(buffer) == ["a", "b", "c"], "nobody knows how old `stranger` is"
    assert names(buffer.add([], current=3)) == ["b", "c"]
    assert names(buffer.add([sample("e")], current=5)) == ["c"], "too old on arrival"


def test_the_same_sample_comes_once_and_keeps_its_place() -> None:
    buffer = Buffer("base", BufferSettings(capacity=3)).add([sample("a"), sample("b")], current=0)
    assert names(buffer.add([sample("a"), sample("c"), sample("c")], current=0)) == ["a", "b", "c"]


def test_the_order_of_versions() -> None:
    assert [version_number(name, "base") for name in ("base", "actor@1", "actor@12")] == [0, 1, 12]
    for name in ("actor@0", "actor@01", "actor@", "critic@3", "actor@3 ", "Base", "actor@٣"):
        assert version_number(name, "base") is None
