"""A run that was interrupted ends as one that was not: 4 steps = 2 + a new process + 2, to the last bit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.training import resumed, tiny
from tests.training.runs import SETTINGS, small
from training import metrics
from training.algorithms import ALGORITHMS
from training.run import carry_out
from training.settings import RunSettings


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.model(tmp_path_factory.mktemp("tiny") / "base")


@pytest.fixture(scope="module")
def folders(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Runs of every algorithm: without a stop, and by two processes that do two steps each."""
    whole, halves = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("halves")
    resumed.part(whole, base, 4)
    for _ in range(2):
        child("half", halves, base)
    return whole, halves


def child(what: str, folder: Path, base: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.resumed", what, str(folder), str(base)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def numbers(folder: Path) -> list[dict[str, float]]:
    """Of each step, without what a clock says."""
    clock = {"seconds", "tokens_per_second", "peak_mb"}
    return [
        {name: value for name, value in line.items() if name not in clock}
        for line in metrics.read(folder / metrics.NAME)
    ]


def assert_equal(one: Path, other: Path, step: str) -> None:
    folders = [folder / "checkpoints" / step for folder in (one, other)]
    tensors = [load_file(folder / "adapter" / "adapter_model.safetensors") for folder in folders]
    assert tensors[0].keys() == tensors[1].keys()
    assert all(torch.equal(tensor, tensors[1][name]) for name, tensor in tensors[0].items())
    moments = [torch.load(folder / "optimizer.pt", weights_only=True)["state"] for folder in folders]
    for number, state in moments[0].items():
        assert all(torch.equal(value, moments[1][number][name]) for name, value in state.items())
    assert (folders[0] / "progress.json").read_text() == (folders[1] / "progress.json").read_text()
    assert numbers(one) == numbers(other)


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_four_steps_are_two_and_two_in_a_new_process(folders: tuple[Path, Path], name: str) -> None:
    whole, halves = folders
    assert len(numbers(whole / name)) == 4
    assert_equal(whole / name, halves / name, "000004")


def test_processes_killed_on_the_way_change_nothing(base: Path, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"run": RunSettings(save_every=1, threads=1)})
    carry_out(small(tmp_path / "whole", base, settings=settings))
    ends = child("killed", tmp_path / "killed", base).splitlines()
    assert ends[-1].endswith(": 0") and sum("killed" in end for end in ends) >= 2, ends
    assert_equal(tmp_path / "whole", tmp_path / "killed", "000004")
    left = [path.name for path in (tmp_path / "killed" / "checkpoints").iterdir()]
    assert sorted(left) == ["000003", "000004"]
