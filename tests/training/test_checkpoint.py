"""Checkpoints: what is in them, what is kept, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.training import tiny
from tests.training.examples import mixed
from tests.training.runs import SETTINGS, small
from training.adapter import LoraSettings
from training.checkpoint import Checkpoint, Checkpoints
from training.errors import CheckpointError
from training.manifest import base_digest, read
from training.run import best, carry_out
from training.settings import RunSettings


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.model(tmp_path_factory.mktemp("tiny") / "base")


@pytest.fixture
def run(base: Path, tmp_path: Path) -> Path:
    """A run folder with the checkpoints of steps 2 and 4."""
    carry_out(small(tmp_path / "run", base))
    return tmp_path / "run"


def names(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def test_a_checkpoint_holds_the_adapter_and_no_base_weights(base: Path, run: Path) -> None:
    folder = run / "checkpoints" / "000004"
    files = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    assert files == {"adapter/adapter_config.json", "adapter/adapter_model.safetensors", "optimizer.pt",
                     "scheduler.pt", "rng.pt", "progress.json", "COMPLETE"}  # fmt: skip
    tensors = load_file(folder / "adapter" / "adapter_model.safetensors")
    assert all("lora_" in name for name in tensors)
    weights = (base / "model.safetensors").stat().st_size
    assert sum((folder / file).stat().st_size for file in files) < weights / 2
    assert (run / "LATEST").read_text() == "000004\n"
    assert names(run) == ["000002", "000004"]


def test_the_manifest_says_what_the_run_was_made_from(base: Path, run: Path) -> None:
    manifest = read(run)
    assert manifest.base_digest == base_digest(base) and manifest.base_digest.startswith("sha256:")
    assert manifest.data == "sha256:data" and manifest.facts["steps"] == 4
    assert manifest.settings["lora"]["rank"] == 4 and manifest.settings["run"]["seed"] == 0
    assert manifest.libraries.keys() >= {"torch", "transformers", "peft"}
    assert len(manifest.code.rstrip("+")) == 40 or manifest.code[0].isdigit()


def test_the_last_two_and_the_best_are_kept(base: Path, tmp_path: Path) -> None:
    """A learning rate at which the held-out loss gets worse after the first checkpoint."""
    settings = SETTINGS.model_copy(
        update={
            "optimiser": SETTINGS.optimiser.model_copy(update={"learning_rate": 0.5, "warmup_steps": 0}),
            "run": RunSettings(save_every=1, threads=1),
        }
    )
    run = small(tmp_path, base, steps=5, settings=settings, held_out=mixed(4))
    carry_out(run)
    chosen = best(run)
    assert chosen is not None
    kept = names(tmp_path)
    assert kept[-2:] == ["000004", "000005"] and chosen.folder.name in kept and len(kept) <= 3
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    lowest = min(lines, key=lambda line: line["held_out/loss"])
    assert chosen.step == lowest["step"] < 5
    last = best(replace(run, choose_last=True))
    assert last is not None and last.step == 5


def test_without_held_out_samples_the_newest_is_the_best(base: Path, run: Path) -> None:
    chosen = best(small(run, base))
    assert chosen is not None and chosen.step == 4


def test_what_is_not_whole_is_ignored_and_removed(base: Path, run: Path) -> None:
    (run / "checkpoints" / "000004" / "COMPLETE").unlink()
    (run / "checkpoints" / ".000006.half").mkdir()
    (run / "checkpoints" / ".000006.half" / "optimizer.pt").write_bytes(b"half")
    newest = checkpoints(run, base).newest()
    assert newest is not None and newest.step == 2
    assert names(run) == ["000002"]


def test_an_empty_folder_has_none(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "no", {}, "x").newest() is None
    assert Checkpoints(tmp_path / "no", {}, "x").best() is None


def test_changed_bytes_are_refused_with_both_digests(base: Path, run: Path) -> None:
    file = run / "checkpoints" / "000004" / "optimizer.pt"
    written = json.loads((run / "checkpoints" / "000004" / "COMPLETE").read_text())["optimizer.pt"]
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(CheckpointError, match=written) as refused:
        checkpoints(run, base).newest()
    assert str(refused.value).count("sha256:") == 2 and "goes on from the one before" in str(refused.value)


def test_another_base_model_is_refused_with_both_digests(base: Path, run: Path, tmp_path: Path) -> None:
    other = tiny.model(tmp_path / "other", seed=1)
    with pytest.raises(CheckpointError, match="another base model") as refused:
        carry_out(small(run, other))
    assert base_digest(base) in str(refused.value) and base_digest(other) in str(refused.value)


def test_another_dataset_shape_or_seed_is_refused(base: Path, run: Path) -> None:
    with pytest.raises(CheckpointError, match="another dataset: sha256:data, now it is sha256:other"):
        carry_out(small(run, base, data="sha256:other"))
    changes: dict[str, dict[str, Any]] = {
        "adapter shape": {"lora": LoraSettings(rank=8)},
        "seed": {"run": RunSettings(seed=7)},
        "optimiser": {"optimiser": SETTINGS.optimiser.model_copy(update={"learning_rate": 1e-4})},
    }
    for what, change in changes.items():
        with pytest.raises(CheckpointError, match=f"another {what}"):
            carry_out(small(run, base, settings=SETTINGS.model_copy(update=change)))


def checkpoints(run: Path, base: Path) -> Checkpoints:
    """Those of `run`, for whoever knows what it belongs to."""
    newest = Checkpoint(max((run / "checkpoints").glob("0*")))
    belongs = json.loads((newest.folder / "progress.json").read_text())["belongs"]
    return Checkpoints(run, belongs, str(base))
