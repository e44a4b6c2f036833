"""The loop: what changes a result and what does not, what is on record, and when a run ends."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.training import tiny
from tests.training.examples import imitated, mixed, rewarded
from tests.training.runs import SETTINGS, small
from training import metrics
from training.batch import Example
from training.checkpoint import Checkpoint
from training.errors import BadData
from training.loop import OptimiserSettings, _rate
from training.plan import Shuffled
from training.run import carry_out
from training.settings import BatchSettings, TrainSettings


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.model(tmp_path_factory.mktemp("tiny") / "base")


def adapter_after(folder: Path, step: int) -> Mapping[str, Tensor]:
    loaded: Mapping[str, Tensor] = load_file(
        Checkpoint(folder / "checkpoints" / f"{step:06d}").adapter / "adapter_model.safetensors"
    )
    return loaded


def close(one: Mapping[str, Tensor], other: Mapping[str, Tensor], atol: float = 2e-5) -> bool:
    return one.keys() == other.keys() and all(torch.allclose(one[name], other[name], atol=atol) for name in one)


def with_batch(sequences: int, micro_tokens: int) -> TrainSettings:
    return SETTINGS.model_copy(update={"batch": BatchSettings(sequences=sequences, micro_tokens=micro_tokens)})


def test_what_is_imitated_becomes_likely(base: Path, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"optimiser": OptimiserSettings(learning_rate=5e-3)})
    examples = [imitated(number) for number in range(6)]
    carry_out(small(tmp_path, base, steps=30, settings=settings, examples=examples))
    lines = metrics.read(tmp_path / metrics.NAME)
    assert [line["step"] for line in lines] == list(range(1, 31))
    assert lines[0]["ce"] > 5.0 and lines[-1]["ce"] < 1.0


def test_what_is_rewarded_becomes_likely_and_what_is_punished_does_not(base: Path, tmp_path: Path) -> None:
    wanted, unwanted = rewarded(0, 1.0), rewarded(1, -1.0)
    judged = [imitated(0), imitated(1)]
    settings = with_batch(2, 64)
    for name, examples in (("up", [judged[0]]), ("down", [judged[1]])):
        run = small(tmp_path / name, base, steps=10, settings=settings, examples=[wanted, unwanted], held_out=examples)
        carry_out(run)
    up, down = ([line["held_out/ce"] for line in metrics.read(tmp_path / name / metrics.NAME) if "held_out/ce" in line]
                for name in ("up", "down"))  # fmt: skip
    assert up[-1] < up[0] and down[-1] > down[0]


def test_micro_batches_change_nothing(base: Path, tmp_path: Path) -> None:
    for name, micro_tokens in (("single", 1), ("some", 64), ("all", 100_000)):
        carry_out(small(tmp_path / name, base, settings=with_batch(6, micro_tokens)))
    single, some, together = (adapter_after(tmp_path / name, 4) for name in ("single", "some", "all"))
    assert close(single, some) and close(single, together)
    losses = [[line["loss"] for line in metrics.read(tmp_path / name / metrics.NAME)] for name in ("single", "all")]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_two_processes_are_one(base: Path, tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, "-m", "tests.training.runs", str(tmp_path / "two"), str(base), "4"]
    done = subprocess.run(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    carry_out(small(tmp_path / "one", base))
    one, two = (metrics.read(tmp_path / name / metrics.NAME) for name in ("one", "two"))
    assert close(adapter_after(tmp_path / "one", 4), adapter_after(tmp_path / "two", 4))
    for name in ("loss", "pg", "ce", "kl", "tokens", "wanted_tokens", "grad_norm"):
        assert [line[name] for line in one] == pytest.approx([line[name] for line in two], rel=1e-3, abs=1e-5), name


def test_weights_of_a_stream_are_normalised_over_the_step(base: Path, tmp_path: Path) -> None:
    """Two steps' worth of examples in one step have the mean of their gradients, however long each is."""
    short, long = imitated(0, completion=2), imitated(1, completion=18)
    carry_out(small(tmp_path, base, steps=1, settings=with_batch(2, 1), examples=[short, long]))
    (line,) = metrics.read(tmp_path / metrics.NAME)
    alone = []
    for name, example in (("short", short), ("long", long)):
        carry_out(small(tmp_path / name, base, steps=1, settings=with_batch(1, 1), examples=[example]))
        alone += [metrics.read(tmp_path / name / metrics.NAME)[0]["ce"]]
    assert line["ce"] == pytest.approx((2 * alone[0] + 18 * alone[1]) / 20, rel=1e-4)


def test_each_line_says_what_the_step_did(base: Path, tmp_path: Path) -> None:
    told: list[tuple[int, float]] = []
    run = small(tmp_path, base, held_out=mixed(3))
    carry_out(run, tell=lambda step, line: told.append((step, line["loss"])))
    lines = metrics.read(tmp_path / metrics.NAME)
    always = {"step", "loss", "pg", "ce", "kl", "grad_norm", "learning_rate", "skipped", "sequences", "tokens",
              "wanted_tokens", "tokens_seen", "seconds", "tokens_per_second"}  # fmt: skip
    assert all(always <= line.keys() for line in lines)
    assert [step for step, _ in told] == [1, 2, 3, 4]
    assert ["held_out/loss" in line for line in lines] == [False, True, False, True]
    assert lines[-1]["tokens_seen"] == sum(line["tokens"] for line in lines)


def test_a_run_that_is_told_to_stop_goes_on_later(base: Path, tmp_path: Path) -> None:
    seen: list[int] = []
    stopped = carry_out(
        small(tmp_path / "parts", base), tell=lambda step, line: seen.append(step), stop=lambda: len(seen) == 0
    )
    assert (stopped.step, stopped.finished) == (1, False)
    assert carry_out(small(tmp_path / "parts", base)).finished
    carry_out(small(tmp_path / "whole", base))
    parts, whole = adapter_after(tmp_path / "parts", 4), adapter_after(tmp_path / "whole", 4)
    assert all(torch.equal(parts[name], whole[name]) for name in whole)


@pytest.mark.parametrize("schedule, last", [("constant", 1.0), ("linear", 0.125), ("cosine", 0.0381)])
def test_the_learning_rate_rises_and_falls(schedule: str, last: float) -> None:
    settings = OptimiserSettings.model_validate({"schedule": schedule, "warmup_steps": 2})
    rates = [_rate(settings, step, 10) for step in range(10)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[-1] == pytest.approx(last, abs=1e-3)
    assert sorted(rates[2:], reverse=True) == rates[2:]


def test_an_epoch_has_every_example_once_and_each_epoch_another_order() -> None:
    plan = Shuffled(list(range(10)), 5, seed=3)
    first, second = ([item for _ in range(2) for item in plan.draw()] for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second and plan.epoch == 2.0
    assert Shuffled(list(range(10)), 5, seed=3).draw() == first[:5]
    assert Shuffled(list(range(10)), 5, seed=4).draw() != first[:5]


def test_a_plan_goes_on_where_it_was() -> None:
    plan = Shuffled(list("abcdefg"), 4, seed=1, others=list("xyz"), share=0.5)
    plan.draw()
    again = Shuffled(list("abcdefg"), 4, seed=1, others=list("xyz"), share=0.5)
    again.restore(plan.state())
    ahead = [plan.draw() for _ in range(5)]
    assert [again.draw() for _ in range(5)] == ahead
    assert all(sum(item in "xyz" for item in drawn) == 2 for drawn in ahead)


def test_a_plan_without_data_says_what_to_do() -> None:
    nothing: Sequence[Example] = []
    with pytest.raises(BadData, match="collect more"):
        Shuffled(nothing, 4, seed=0)
    with pytest.raises(BadData, match="reference solutions"):
        Shuffled(["a"], 4, seed=0, share=0.5)
