"""Samples in a file and back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from memory.records import Outcome, Problem
from tests.training.test_buffer import sample
from tests.training.vocabulary import write_tokenizer
from training.errors import BadData
from training.parquet import read_samples, write_samples
from training.sample import TokenSample
from training.tokens import Vocabulary, read_vocabulary


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    folder = tmp_path_factory.mktemp("model")
    write_tokenizer(folder)
    return read_vocabulary(folder)


def samples() -> list[TokenSample]:
    one = sample("t1/0", "actor@3")
    full = replace(
        one,
        id="t1/1",
        problem_id="MBPP/601",
        trajectory_id="t1",
        attempt=1,
        origin="repair",
        temperature=0.7,
        finish_reason="length",
        outcome=Outcome.RUNTIME_ERROR,
        passed=1,
        total=3,
        error="TypeError",
        quality=0.25,
        prompt_ids=(5, 6),
        completion_ids=(70, 71, 72),
        behaviour_logprobs=(-0.1, -1.0 / 3.0, -2.5e-9),
        sampled=(False, True, True),
        program=(True, True, False),
        blamed=(False, True, False),
        executed=(True, False, True),
        critic=(0.25, 0.5, 0.125),
    )
    reference = replace(one, id="reference/x", kind="reference", origin="reference", behaviour_logprobs=())
    return [one, full, reference]


def test_what_is_written_is_read_back_the_same(vocabulary: Vocabulary, tmp_path: Path) -> None:
    file = tmp_path / "out" / "train.parquet"
    many = samples() + [replace(samples()[0], id=f"t{number}/0") for number in range(2, 2500)]
    write_samples(file, many, vocabulary, {}, rewards=[0.5] * len(many))
    assert list(read_samples(file)) == many
    assert [one.name for one in file.parent.iterdir()] == ["train.parquet"]


def test_the_columns_are_those_of_others(vocabulary: Vocabulary, tmp_path: Path) -> None:
    file = tmp_path / "train.parquet"
    problem = Problem(id="MBPP/601", statement="Write it, ☃ \ud800.", reference="def f(): pass")
    write_samples(file, samples(), vocabulary, {"MBPP/601": problem}, rewards=[1.0, -0.6, 1.0], split="test")
    row = pq.read_table(file).to_pylist()[1]
    assert row["data_source"] == "burnish" and row["ability"] == "code" and row["reward"] == -0.6
    assert row["prompt"] == [{"role": "user", "content": "Write it, ☃ \\ud800."}]
    assert row["response"] == vocabulary.text((70, 71, 72))
    assert row["reward_model"] == {"style": "rule", "ground_truth": "def f(): pass"}
    assert (row["prompts"], row["responses"]) == ([5, 6], [70, 71, 72])
    assert row["response_mask"] == [False, True, True]
    assert row["rollout_log_probs"] == [-0.1, -1.0 / 3.0, -2.5e-9]
    extra = row["extra_info"]
    assert (extra["split"], extra["index"], extra["outcome"], extra["blamed"][1]) == ("test", 1, "runtime_error", True)
    assert pq.read_table(file).to_pylist()[0]["prompt"] == [], "nothing is known of that problem"


def test_a_failed_write_leaves_the_old_file(vocabulary: Vocabulary, tmp_path: Path) -> None:
    file = tmp_path / "train.parquet"
    write_samples(file, samples(), vocabulary, {}, rewards=[0.0] * 3)
    before = file.read_bytes()
    with pytest.raises(ValueError, match="zip"):
        write_samples(file, samples(), vocabulary, {}, rewards=[0.0] * 2)
    assert file.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_no_samples_and_no_file(vocabulary: Vocabulary, tmp_path: Path) -> None:
    write_samples(tmp_path / "none.parquet", [], vocabulary, {}, rewards=[])
    assert list(read_samples(tmp_path / "none.parquet")) == []
    with pytest.raises(BadData, match="absent"):
        list(read_samples(tmp_path / "absent.parquet"))
    (tmp_path / "text.parquet").write_text("no")
    with pytest.raises(BadData, match=r"text\.parquet holds no samples"):
        list(read_samples(tmp_path / "text.parquet"))
