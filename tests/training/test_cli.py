"""`python -m training`: exit statuses, messages, and a policy run from stored trajectories to a checkpoint."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from typer.testing import CliRunner, Result

from agent.adapters import read
from memory.records import Attempt, Outcome, Sampling, Verdict
from memory.trajectories import SqlTrajectoryStore
from tests.training import tiny
from tests.training.stored import trajectory
from tests.training.vocabulary import sampled
from training import critic_run, manifest, metrics
from training.cli import app
from training.parquet import read_samples

NAME = "tiny/base"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.model(tmp_path_factory.mktemp("tiny") / "base")


@pytest.fixture(scope="module")
def data(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with eight problems; of each, every second of four attempts passes."""
    folder = tmp_path_factory.mktemp("data")
    asyncio.run(fill(folder, base, [Outcome.PASSED, Outcome.FAILED_TEST] * 2))
    return folder


async def fill(folder: Path, base: Path, outcomes: Sequence[Outcome]) -> None:
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    async with aclosing(await SqlTrajectoryStore.open(folder / "trajectories.sqlite")) as store:
        for number in range(8):
            attempts = []
            for at, outcome in enumerate(outcomes):
                answer = sampled(tokenizer, f"```python\ndef f{number}(x):\n    return x + {at}\n```")
                sampling = Sampling(model=NAME, temperature=1.0 if at else 0.0, seed=at)
                passed = 2 if outcome is Outcome.PASSED else 0
                verdict = Verdict(id="", outcome=outcome, passed=passed, total=2)
                attempts.append(
                    Attempt(
                        candidate=replace(answer, sampling=sampling),
                        verdict=verdict,
                        origin="sample" if at else "first",
                        round=0,
                    )
                )
            await store.append(trajectory(attempts, number, version=NAME, entry_point=f"f{number}"))


def call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def policy(run: Path, base: Path, data: Path, *more: object) -> Result:
    given = [
        "--base",
        base,
        "--base-name",
        NAME,
        "--data-dir",
        data,
        "--set",
        "lora.rank=4",
        "--set",
        "batch.sequences=4",
    ]
    return call("policy", run, *given, *more)


def test_a_policy_is_trained_from_kept_attempts(base: Path, data: Path, tmp_path: Path) -> None:
    done = policy(tmp_path / "run", base, data, "--algorithm", "rft", "--set", "run.steps=3")
    assert done.exit_code == 0, done.output
    assert done.stdout.strip().endswith("checkpoints/000003")
    assert re.search(r"step 3/3 loss", done.stderr)
    about = manifest.read(tmp_path / "run")
    assert about.kind == "policy" and about.settings["algorithm"]["name"] == "rft"
    assert about.facts["samples"] > about.facts["learned_from"] > 0
    assert len(metrics.read(tmp_path / "run" / metrics.NAME)) == 3
    assert (tmp_path / "run" / "curves.png").exists()

    again = policy(tmp_path / "run", base, data, "--algorithm", "rft", "--set", "run.steps=3")
    assert again.exit_code == 0 and "step" not in again.stderr.split("}")[-1]
    longer = policy(tmp_path / "run", base, data, "--algorithm", "rft", "--set", "run.steps=4")
    assert longer.exit_code == 0 and len(metrics.read(tmp_path / "run" / metrics.NAME)) == 4
    other = policy(tmp_path / "run", base, data, "--algorithm", "grpo", "--set", "run.steps=4")
    assert other.exit_code == 1 and "another algorithm" in other.stderr


def test_a_critic_is_trained_and_measured_beside_the_untrained_one(base: Path, data: Path, tmp_path: Path) -> None:
    given = ["--base", base, "--base-name", NAME, "--data-dir", data, "--set", "lora.rank=4", "--set", "run.steps=3"]
    run = tmp_path / "run"
    done = call("critic", run, *given, "--set", "data.held_out_share=0.3", "--set", "batch.sequences=4")
    assert done.exit_code == 0, done.output
    assert done.stdout.strip().endswith("checkpoints/000003")
    assert manifest.read(run).kind == "critic"
    told = json.loads((run / critic_run.REPORT).read_text())
    assert told["zero_shot"]["programs"] == told["trained"]["programs"] > 0
    assert 0 <= told["trained"]["auc"] <= 1 and told["trained"] != told["zero_shot"]
    assert set(told) == {"zero_shot", "trained", "likelihood", "calibrated"}

    chosen = Path(done.stdout.strip().splitlines()[-1])
    about = ["--base", base, "--base-name", NAME, "--data-dir", data, "--kind", "critic"]
    assert call("publish", chosen, *about).exit_code == 0
    card = read(data / "adapters" / "critic@1").card
    assert card.calibration == critic_run.calibration_of(chosen) is not None
    assert critic_run.calibration_of(chosen.parent / "000001") is None
    (run / critic_run.CALIBRATION).write_text("{")
    broken = call("publish", chosen, *about)
    assert broken.exit_code == 1 and "holds no calibration" in broken.stderr

    weights = chosen / "adapter"
    given = ["--algorithm", "coderl", "--set", "run.steps=1", "--set", "algorithm.options.cross_entropy=false"]
    losses = []
    for name, more in (("plain", []), ("weighed", ["--critic", weights])):
        assert policy(tmp_path / name, base, data, *given, *more).exit_code == 0
        losses.append(metrics.read(tmp_path / name / metrics.NAME)[0]["pg"])
    assert losses[0] != losses[1]
    wrong = policy(tmp_path / "other", base, data, *given, "--critic", tmp_path)
    assert wrong.exit_code == 1 and "no adapter" in wrong.stderr


def test_kept_attempts_are_exported_on_both_sides_of_the_split(base: Path, data: Path, tmp_path: Path) -> None:
    file = tmp_path / "samples.parquet"
    given = ["--base", base, "--base-name", NAME, "--data-dir", data, "--set", "data.held_out_share=0.3"]
    done = call("export", file, *given)
    assert done.exit_code == 0, done.output
    train, aside = list(read_samples(file)), list(read_samples(tmp_path / "samples.held_out.parquet"))
    assert len(train) + len(aside) == 32 and train and aside
    assert not {one.family for one in train} & {one.family for one in aside}


@pytest.mark.parametrize(
    "more, message",
    [
        (["--set", "lora.rnak=4"], "lora.rnak"),
        (["--set", "lora.rank=99"], "lora.rank is 99"),
        (["--algorithm", "magic"], "magic"),
        (["--set", "algorithm.options.magic=1"], "magic"),
    ],
)
def test_wrong_settings_end_with_2(base: Path, data: Path, tmp_path: Path, more: list[str], message: str) -> None:
    done = policy(tmp_path / "run", base, data, *more)
    assert done.exit_code == 2 and message in done.stderr
    assert not (tmp_path / "run").exists()


def test_an_empty_store_says_what_to_do(base: Path, tmp_path: Path) -> None:
    done = policy(tmp_path / "run", base, tmp_path, "--algorithm", "grpo")
    assert done.exit_code == 1 and "collect" in done.stderr
    assert not (tmp_path / "run").exists()


def test_equal_rewards_say_what_to_do(base: Path, tmp_path: Path) -> None:
    asyncio.run(fill(tmp_path, base, [Outcome.FAILED_TEST] * 4))
    done = policy(tmp_path / "run", base, tmp_path, "--algorithm", "grpo")
    assert done.exit_code == 1 and "solves sometimes" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["policy", "critic", "export", "collect", "publish", "evaluate"])
def test_every_command_explains_itself(command: str) -> None:
    done = call(command, "--help")
    assert done.exit_code == 0 and "--data-dir" in done.stdout


def test_online_training_draws_from_the_newest_attempts(base: Path, data: Path, tmp_path: Path) -> None:
    given = ["--algorithm", "rft", "--set", "run.steps=1", "--set", "data.held_out_share=0.0"]
    for name, more, samples in (("all", [], 32), ("window", ["--set", "buffer.capacity=8"], 8)):
        done = policy(tmp_path / name, base, data, *given, *more)
        assert done.exit_code == 0, done.output
        assert manifest.read(tmp_path / name).facts["samples"] == samples
