"""The dictionary of algorithms."""

from __future__ import annotations

import pytest

from tests.training.credit.attempts import CRASHED, PASSED, attempt, greedy
from training.algorithms import ALGORITHMS, algorithm
from training.errors import BadSettings


def test_names_forms_and_references() -> None:
    made = {name: algorithm(name, {}) for name in ALGORITHMS}
    assert {name: (one.form, one.needs_references, one.reference_share) for name, one in made.items()} == {
        "sft": ("reinforce", True, 1.0),
        "rft": ("reinforce", False, 0.0),
        "coderl": ("reinforce", True, 0.5),
        "rltf": ("reinforce", True, 0.5),
        "stepcoder": ("clip", False, 0.0),
        "grpo": ("clip", False, 0.0),
    }
    group = [attempt(0, PASSED), attempt(1, CRASHED), greedy(CRASHED)]
    for one in made.values():
        assert len(one.streams(group)) == 3


def test_settings_reach_the_streams_and_the_losses() -> None:
    group = [attempt(0, PASSED), attempt(1, CRASHED)]
    assert algorithm("grpo", {"divide": False}).streams(group)[0].advantage == pytest.approx((0.8,) * 4)
    assert algorithm("grpo", {"clip_high": 0.28}).losses.clip_high == 0.28
    assert algorithm("coderl", {"cross_entropy": False}).reference_share == 0.0


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("ppo", {}, "choose one of sft"),
        ("grpo", {"devide": False}, "devide"),
        ("rltf", {"fine_cap": 0}, "fine_cap"),
        ("coderl", {"policy_gradient": False, "cross_entropy": False}, "both off"),
        ("rltf", {"coarse": False, "fine_weight": 0, "cross_entropy": False}, "all off"),
    ],
)
def test_wrong_names_and_settings_are_told(name: str, settings: dict[str, object], said: str) -> None:
    with pytest.raises(BadSettings, match=said):
        algorithm(name, settings)
