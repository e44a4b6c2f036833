"""What goes wrong: a loss that is not finite, nothing to learn, a full disk. A clear message, and nothing is lost."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import peft
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.training import tiny
from tests.training.examples import imitated, mixed, rewarded
from tests.training.runs import SETTINGS, small
from training import metrics
from training.batch import Example
from training.errors import BadSettings, CheckpointError, Diverged
from training.manifest import base_digest
from training.objective import Counts
from training.run import Run, carry_out
from training.settings import BatchSettings, RunSettings

EVERY_STEP = SETTINGS.model_copy(
    update={"run": RunSettings(save_every=1, threads=1), "batch": BatchSettings(sequences=2, micro_tokens=64)}
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.model(tmp_path_factory.mktemp("tiny") / "base")


class InOrder:
    """A plan that gives these examples, step after step."""

    def __init__(self, steps: Sequence[Sequence[Example]]) -> None:
        self._steps = steps
        self._at = 0

    def draw(self) -> Sequence[Example]:
        self._at += 1
        return self._steps[self._at - 1]

    def state(self) -> dict[str, object]:
        return {"at": self._at}

    def restore(self, state: Mapping[str, int]) -> None:
        self._at = state["at"]


def broken() -> Example:
    """A sample whose stored log-probability is not a number."""
    sample, streams = rewarded(3)
    return Example(replace(sample, behaviour_logprobs=(float("nan"), *sample.behaviour_logprobs[1:])), streams)


def worthless() -> Example:
    """A sample whose reward equals its baseline."""
    return rewarded(4, advantage=0.0)


def planned(folder: Path, base: Path, steps: Sequence[Sequence[Example]]) -> Run[Example, Counts]:
    return replace(small(folder, base, steps=len(steps), settings=EVERY_STEP), plan=InOrder(steps))


def lines(folder: Path) -> list[dict[str, float]]:
    return metrics.read(folder / metrics.NAME)


@pytest.mark.parametrize("fault", [broken, worthless])
def test_a_step_that_cannot_be_taken_is_skipped_and_counted(
    base: Path, tmp_path: Path, fault: Callable[[], Example]
) -> None:
    fine = [[imitated(0)], [imitated(1)]]
    carry_out(planned(tmp_path / "with", base, [fine[0], [fault()], fine[1]]))
    carry_out(planned(tmp_path / "without", base, fine))
    assert [line["skipped"] for line in lines(tmp_path / "with")] == [0.0, 1.0, 0.0]
    assert "loss" not in lines(tmp_path / "with")[1]
    found, wanted = (_adapter(tmp_path / name) for name in ("with", "without"))
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in found.items())


@pytest.mark.parametrize("fault, message", [(broken, "learning_rate"), (worthless, "all rewards .* Collect problems")])
def test_three_in_a_row_end_the_run(base: Path, tmp_path: Path, fault: Callable[[], Example], message: str) -> None:
    steps = [[imitated(0)], [fault()], [fault()], [fault()], [imitated(1)]]
    with pytest.raises(Diverged, match=rf"steps 2 to 4 .*{message}"):
        carry_out(planned(tmp_path, base, steps))
    assert [line["skipped"] for line in lines(tmp_path)] == [0.0, 1.0, 1.0, 1.0]
    newest = (tmp_path / "LATEST").read_text().strip()
    assert newest < "000004"
    assert all(torch.isfinite(tensor).all() for tensor in _adapter(tmp_path).values())


def test_two_in_a_row_and_one_taken_do_not(base: Path, tmp_path: Path) -> None:
    steps = [[worthless()], [worthless()], [imitated(0)], [worthless()], [worthless()], [imitated(1)]]
    assert carry_out(planned(tmp_path, base, steps)).finished
    assert sum(line["skipped"] for line in lines(tmp_path)) == 4


def test_the_count_survives_an_interruption(base: Path, tmp_path: Path) -> None:
    steps = [[worthless()], [worthless()], [worthless()], [imitated(0)]]
    seen: list[int] = []
    carry_out(planned(tmp_path, base, steps), tell=lambda step, line: seen.append(step), stop=lambda: len(seen) >= 1)
    with pytest.raises(Diverged, match="steps 1 to 3"):
        carry_out(planned(tmp_path, base, steps))


class Infinite:
    """An objective whose loss is finite and whose gradient is not."""

    def count(self, examples: Sequence[Example]) -> int:
        return 1

    def split(self, examples: Sequence[Example]) -> list[Sequence[Example]]:
        return [examples]

    def loss(self, model: peft.PeftModel, part: Sequence[Example], count: int) -> tuple[Tensor, Mapping[str, float]]:
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        return sum(((parameter * 0).abs().sqrt().sum() for parameter in parameters), torch.zeros(())), {}


def test_a_gradient_that_is_not_finite_is_skipped_too(base: Path, tmp_path: Path) -> None:
    run = small(tmp_path, base, examples=mixed(6))
    with pytest.raises(Diverged, match="length of the gradient nan"):
        carry_out(replace(run, objective=Infinite()))  # type: ignore[arg-type]
    assert not (tmp_path / "LATEST").exists() or _adapter(tmp_path)


@contextmanager
def small_disk(largest: int) -> Iterator[None]:
    """Files beyond `largest` bytes cannot be written."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_the_checkpoint_before(base: Path, tmp_path: Path) -> None:
    fine = [[imitated(number)] for number in range(4)]
    seen: list[int] = []
    run = planned(tmp_path / "run", base, fine)
    carry_out(run, tell=lambda step, line: seen.append(step), stop=lambda: len(seen) >= 1)
    adapter_bytes = (tmp_path / "run/checkpoints/000002/adapter/adapter_model.safetensors").stat().st_size
    with (
        small_disk(adapter_bytes // 2),
        pytest.raises(CheckpointError, match=r"step 3 .*000002 is the newest .*Make room"),
    ):
        carry_out(planned(tmp_path / "run", base, fine))
    left = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert left == ["000001", "000002"]

    assert carry_out(planned(tmp_path / "run", base, fine)).finished
    carry_out(planned(tmp_path / "whole", base, fine))
    found, wanted = (_adapter(tmp_path / name) for name in ("run", "whole"))
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in found.items())


def test_a_folder_that_cannot_be_made_is_named(base: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match="file/run"):
        carry_out(small(tmp_path / "file" / "run", base))


def test_a_base_that_is_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="no/model"):
        base_digest(tmp_path / "no" / "model")


def _adapter(folder: Path) -> dict[str, Tensor]:
    newest = (folder / "LATEST").read_text().strip()
    loaded: dict[str, Tensor] = load_file(folder / "checkpoints" / newest / "adapter" / "adapter_model.safetensors")
    return loaded
