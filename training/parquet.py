"""Samples in a Parquet file, in the columns that other trainers read, and back without loss.

The names are verl's where it has one: `data_source`, `prompt`, `ability`, `reward_model` and `extra_info` of its data
files; `prompts`, `responses`, `response_mask` and `rollout_log_probs` of its batches. What it has no name for stands in
`extra_info`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from memory.records import Outcome, Problem
from training.errors import BadData
from training.sample import TokenSample
from training.tokens import Vocabulary

DATA_SOURCE = "burnish"
ABILITY = "code"

_AT_ONCE = 1000
"""Samples in one row group."""
_IDS, _FLOATS, _FLAGS = pa.list_(pa.int32()), pa.list_(pa.float64()), pa.list_(pa.bool_())
_RENAMED = {
    "prompt_ids": ("prompts", _IDS),
    "completion_ids": ("responses", _IDS),
    "behaviour_logprobs": ("rollout_log_probs", _FLOATS),
    "sampled": ("response_mask", _FLAGS),
}
"""Fields of a sample that have a column of their own."""
_EXTRA = {
    "id": pa.string(),
    "problem_id": pa.string(),
    "family": pa.string(),
    "trajectory_id": pa.string(),
    "attempt": pa.int64(),
    "kind": pa.string(),
    "origin": pa.string(),
    "policy_version": pa.string(),
    "temperature": pa.float64(),
    "finish_reason": pa.string(),
    "outcome": pa.string(),
    "passed": pa.int64(),
    "total": pa.int64(),
    "error": pa.string(),
    "quality": pa.float64(),
    "program": _FLAGS,
    "blamed": _FLAGS,
    "executed": _FLAGS,
    "critic": _FLOATS,
}
"""The others, in `extra_info`."""
_SCHEMA = pa.schema(
    [
        ("data_source", pa.string()),
        ("prompt", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        ("response", pa.string()),
        ("ability", pa.string()),
        ("reward", pa.float64()),
        ("reward_model", pa.struct([("style", pa.string()), ("ground_truth", pa.string())])),
        *_RENAMED.values(),
        ("extra_info", pa.struct([("split", pa.string()), ("index", pa.int64()), *_EXTRA.items()])),
    ]
)


def write_samples(
    file: Path,
    samples: Sequence[TokenSample],
    vocabulary: Vocabulary,
    problems: Mapping[str, Problem],
    *,
    rewards: Sequence[float],
    split: str = "train",
) -> None:
    """Write samples with their rewards; what was there before is replaced in one step, or left as it is.

    `prompt` is the chat that asks for the problem, where it is known; what the policy really saw are the ids in
    `prompts`. `ground_truth` is the reference solution, or empty.
    """
    rows = zip(samples, rewards, strict=True)
    new = file.with_name(f".{file.name}.{os.getpid()}.new")
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with new.open("wb") as out:
            with pq.ParquetWriter(out, _SCHEMA) as writer:
                made = [
                    _row(index, sample, reward, vocabulary, problems.get(sample.problem_id), split)
                    for index, (sample, reward) in enumerate(rows)
                ]
                for start in range(0, max(len(made), 1), _AT_ONCE):
                    writer.write_table(pa.Table.from_pylist(made[start : start + _AT_ONCE], schema=_SCHEMA))
            out.flush()
            os.fsync(out.fileno())
        new.replace(file)
    finally:
        new.unlink(missing_ok=True)


def read_samples(file: Path) -> Iterator[TokenSample]:
    """The samples of such a file, in its order. Raises BadData for a file that is none."""
    try:
        with pq.ParquetFile(file) as source:
            for batch in source.iter_batches(
                _AT_ONCE, columns=[*(name for name, _ in _RENAMED.values()), "extra_info"]
            ):
                yield from map(_sample, batch.to_pylist())
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise BadData(
            f"{file} holds no samples as `burnish train export` writes them ({type(error).__name__}: {error})"
        ) from error


def _row(
    index: int, sample: TokenSample, reward: float, vocabulary: Vocabulary, problem: Problem | None, split: str
) -> dict[str, Any]:
    chat = [] if problem is None else [{"role": "user", "content": _writable(problem.statement)}]
    truth = problem.reference if problem is not None and problem.reference else ""
    return {
        "data_source": DATA_SOURCE,
        "prompt": chat,
        "response": vocabulary.text(sample.completion_ids),
        "ability": ABILITY,
        "reward": reward,
        "reward_model": {"style": "rule", "ground_truth": _writable(truth)},
        **{name: list(getattr(sample, own)) for own, (name, _) in _RENAMED.items()},
        "extra_info": {"split": split, "index": index, **{name: _plain(getattr(sample, name)) for name in _EXTRA}},
    }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else _writable(value) if isinstance(value, str) else value


def _writable(text: str) -> str:
    """Text that UTF-8 can hold: halves of surrogate pairs are written as escapes."""
    return str(text).encode("utf-8", "backslashreplace").decode("utf-8")


def _sample(row: Mapping[str, Any]) -> TokenSample:
    extra = row["extra_info"]
    values = {own: row[name] for own, (name, _) in _RENAMED.items()} | {name: extra[name] for name in _EXTRA}
    made: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in values.items()}
    made["outcome"] = Outcome(extra["outcome"])
    return TokenSample(**made)


assert {*_RENAMED, *_EXTRA} == {field.name for field in fields(TokenSample)}, "every field of a sample has a column"
