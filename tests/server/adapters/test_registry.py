"""States of versions: legal transitions only, kept over a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.adapters import read_live
from server.adapters.registry import TRANSITIONS, IllegalTransition, Registry, State
from tests.lora_engine import published


def states(registry: Registry) -> dict[str, State]:
    return {entry.adapter.name: entry.state for entry in registry.entries()}


def test_a_version_goes_its_way_and_the_states_survive(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "adapters")
    assert registry.entries() == [] and registry.find("actor@1") is None
    published(tmp_path)
    published(tmp_path)
    assert states(registry) == {"actor@1": State.CANDIDATE, "actor@2": State.CANDIDATE}
    registry.become("actor@1", State.PROVED, proof=[{"result": "passed"}])
    registry.point("actor", "actor@1", (None,))
    registry.become("actor@2", State.REFUSED, "worse", gate={"difference": -0.1})
    again = Registry(tmp_path / "adapters")
    assert states(again) == {"actor@1": State.LIVE, "actor@2": State.REFUSED}
    refused, live = again.find("actor@2"), again.find("actor@1")
    assert refused is not None and refused.mark.reason == "worse" and refused.mark.gate == {"difference": -0.1}
    assert live is not None and live.mark.proof == [{"result": "passed"}]
    again.point("actor", None, ())
    assert states(again)["actor@1"] is State.PROVED
    again.become("actor@1", State.RETIRED)
    again.forget("actor@2")
    assert states(Registry(tmp_path / "adapters")) == {"actor@1": State.RETIRED, "actor@2": State.CANDIDATE}


@pytest.mark.parametrize("before", State)
@pytest.mark.parametrize("after", State)
def test_only_what_the_table_allows(tmp_path: Path, before: State, after: State) -> None:
    published(tmp_path)
    registry = Registry(tmp_path / "adapters")
    way = {
        State.CANDIDATE: [],
        State.PROVED: [State.PROVED],
        State.LIVE: [State.PROVED, State.LIVE],
        State.REFUSED: [State.REFUSED],
        State.RETIRED: [State.RETIRED],
    }

    def step(state: State) -> None:
        if state is State.LIVE:
            registry.point("actor", "actor@1", (None,))
        else:
            registry.become("actor@1", state)

    for state in way[before]:
        step(state)
    assert states(registry) == {"actor@1": before}
    if after is before or after in TRANSITIONS[before]:
        if before is State.LIVE and after is not before:
            registry.point("actor", None, ())
        step(after)
        assert states(registry) == {"actor@1": after}
    else:
        with pytest.raises(IllegalTransition):
            step(after)
        assert states(registry) == {"actor@1": before}


def test_what_is_worth_keeping_loaded(tmp_path: Path) -> None:
    for _ in range(5):
        published(tmp_path)
    registry = Registry(tmp_path / "adapters")
    for number in (1, 2, 3, 4):
        registry.become(f"actor@{number}", State.PROVED)
    registry.point("actor", "actor@2", ("actor@1", None))
    assert registry.order("actor") == ["actor@2", "actor@1", "actor@4", "actor@3"]
    assert registry.order("critic") == []
    registry.become("actor@1", State.REFUSED)
    assert registry.order("actor") == ["actor@2", "actor@4", "actor@3"]
    assert registry.needed() == {"actor@1", "actor@2"}


def test_files_that_cannot_be_read_count_as_absent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    published(tmp_path)
    root = tmp_path / "adapters"
    (root / "states.json").write_text("{broken")
    (root / "live.json").write_text("[]")
    registry = Registry(root)
    assert states(registry) == {"actor@1": State.CANDIDATE}
    assert "every version counts as new" in caplog.text and "the base model answers" in caplog.text
    registry.become("actor@1", State.PROVED)
    registry.point("actor", "actor@1", (None,))
    assert read_live(root).actor == "actor@1"
