"""Settings from command line and TOML: what wins, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.errors import BadSettings
from training.settings import TrainSettings, load


def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "train.toml"
    file.write_text(
        '[lora]\nrank = 8\nalpha = 16\n[algorithm]\nname = "rltf"\noptions = { fine_weight = 0.3 }\n[run]\nsteps = 7\n'
    )
    settings = load(
        file,
        ["lora.rank=4", 'lora.targets=["q_proj"]', "algorithm.options.adaptive=false", "optimiser.schedule=cosine"],
        {"data": {"base": "model"}},
    )
    assert (settings.lora.rank, settings.lora.alpha, settings.lora.targets) == (4, 16, ("q_proj",))
    assert settings.algorithm.name == "rltf"
    assert settings.algorithm.options == {"fine_weight": 0.3, "adaptive": False}
    assert (settings.run.steps, settings.optimiser.schedule, settings.data.base) == (7, "cosine", "model")


def test_without_anything_there_are_defaults() -> None:
    assert load() == TrainSettings()


@pytest.mark.parametrize(
    "given, message",
    [
        ("lora.rnak=4", "lora.rnak"),
        ("lora.rank=0", "lora.rank"),
        ("lora.rank=64", "lora.rank is 64"),
        ("lora.use_dora=true", "lora.use_dora: the engine cannot serve DoRA"),
        ("optimiser.schedule=sometimes", "optimiser.schedule"),
        ("what=1", "what"),
        ("lora.rank", "write group.key=value"),
        ("lora..rank=1", "write group.key=value"),
    ],
)
def test_what_is_wrong_is_named(given: str, message: str) -> None:
    with pytest.raises(BadSettings, match=message):
        load(given=[given])


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.toml").write_text("[lora\n")
    with pytest.raises(BadSettings, match=r"broken\.toml"):
        load(tmp_path / "broken.toml")


def test_what_a_run_was_begun_with_cannot_change_and_the_rest_can() -> None:
    begun = load(given=["lora.rank=8"]).belonging()
    for given in ("lora.max_rank=32", "lora.checkpointing=true", "batch.micro_tokens=512", "run.save_every=3"):
        assert load(given=["lora.rank=8", given]).belonging() == begun, given
    for given in (
        "lora.alpha=8",
        "batch.sequences=8",
        "run.seed=1",
        "optimiser.learning_rate=1",
        "algorithm.name=grpo",
    ):
        assert load(given=["lora.rank=8", given]).belonging() != begun, given
