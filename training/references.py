"""Reference solutions as token samples: what cross-entropy learns from beside the policy's own answers (CodeRL, RLTF).

The prompt is rendered with the model's chat template, as the engine renders it; where a prompt of the same problem is
stored, its ids must be equal. The answer is what a model writes: the program in one block, then the end of the turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from agent.errors import BadTests
from agent.extract import extract
from agent.prompts import FENCE
from agent.sandbox.contract import Sandbox
from agent.task import Message
from memory.benchmarks import is_benchmark
from memory.records import Candidate, Outcome, Problem, Sampling, Verdict
from training.errors import BadData
from training.sample import TokenSample
from training.spans import masks
from training.tokens import Vocabulary, read_vocabulary, token_spans


class Renderer:
    """A model's chat template and tokenizer, from its folder."""

    def __init__(self, folder: Path) -> None:
        self.vocabulary: Vocabulary = read_vocabulary(folder)
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        except (OSError, ValueError) as error:
            raise BadData(f"{folder} has no tokenizer that can be read: {error}") from error
        if not self._tokenizer.chat_template:
            raise BadData(f"{folder} has no chat template; training needs the instruct version of the model")
        self._end = self._end_of_turn()

    def prompt_ids(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """The ids of a chat up to where the assistant's turn begins, as the engine makes them."""
        text = self._tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
        return tuple(self._tokenizer.encode(text, add_special_tokens=False))

    def answer_ids(self, text: str) -> tuple[int, ...]:
        """The ids of an answer and of the token that ends the turn. Names of special tokens in it are plain text."""
        inner = self._tokenizer.backend_tokenizer
        before = inner.encode_special_tokens
        inner.encode_special_tokens = True
        try:
            ids: list[int] = inner.encode(text, add_special_tokens=False).ids
        finally:
            inner.encode_special_tokens = before
        return (*ids, self._end)

    def _end_of_turn(self) -> int:
        """The first token that the template puts behind what the assistant says."""
        chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
        text: str = self._tokenizer.apply_chat_template(chat, tokenize=False)
        rest = text[text.rindex("b") + 1 :]
        ids: list[int] = self._tokenizer.encode(rest, add_special_tokens=False)
        if not ids or self.vocabulary.pieces.get(ids[0], b""):
            raise BadData("the chat template does not end the assistant's turn with a special token")
        return ids[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """The samples, and what could not be made one."""

    samples: tuple[TokenSample, ...]
    compared: int
    """Prompts that were found equal to stored ones."""
    refused: Mapping[str, str]
    """By problem id: why there is no sample."""


def references(
    problems: Iterable[Problem],
    family_of: Mapping[str, str],
    renderer: Renderer,
    *,
    stored: Mapping[str, Sequence[int]] | None = None,
    max_tokens: int = 2048,
) -> References:
    """One sample for each problem with a reference solution; `stored`: prompt ids by problem id that the engine told.
    Those of families that are held out are among them (`dataset.split` parts them); without a family there is no side
    for a problem, so `family_of` must be that of the dataset that was given these problems too.

    Raises BadData if the engine rendered a prompt differently: its model folder or its chat template is another one.
    """
    samples: list[TokenSample] = []
    refused: dict[str, str] = {}
    compared = 0
    for problem in problems:
        if not problem.reference or not problem.reference.strip():
            refused[problem.id] = "no_reference"
            continue
        if is_benchmark(problem.statement) or is_benchmark(problem.reference):
            refused[problem.id] = "benchmark"
            continue
        if problem.id not in family_of:
            refused[problem.id] = "unknown_family"
            continue
        prompt = renderer.prompt_ids([{"role": "user", "content": problem.statement}])
        seen = (stored or {}).get(problem.id)
        if seen is not None and tuple(seen) != prompt:
            raise BadData(
                f"the prompt of {problem.id} has other token ids here than in the engine ({len(prompt)} against "
                f"{len(seen)} tokens): give the model folder that the engine serves, with its chat template"
            )
        compared += seen is not None
        ids = renderer.answer_ids(answer(problem.reference))
        if len(prompt) + len(ids) > max_tokens:
            refused[problem.id] = "too_long"
            continue
        samples.append(_sample(problem, family_of[problem.id], prompt, ids, renderer.vocabulary))
    return References(samples=tuple(samples), compared=compared, refused=refused)


async def passing(problems: Sequence[Problem], sandbox: Sandbox) -> frozenset[str]:
    """Ids of the problems whose reference passes all their hidden tests, twice. Raises what `Sandbox.run` raises, but
    for BadTests, which no reference passes."""

    async def passes(problem: Problem) -> bool:
        try:
            verdict = await sandbox.run(
                problem.reference or "",
                problem.hidden,
                entry_point=problem.entry_point,
                prelude=problem.prelude,
                limits=problem.limits,
                flaky_check=True,
            )
        except BadTests:
            return False
        return verdict.outcome is Outcome.PASSED and not verdict.flaky

    wanted = [problem for problem in problems if problem.reference and problem.hidden]
    found = await asyncio.gather(*(passes(problem) for problem in wanted))
    return frozenset(problem.id for problem, good in zip(wanted, found, strict=True) if good)


def first_prompts(samples: Iterable[TokenSample]) -> dict[str, tuple[int, ...]]:
    """Of each problem the prompt that asked for it and nothing else: what `references` compares with."""
    found: dict[str, tuple[int, ...]] = {}
    for sample in samples:
        if sample.kind == "sampled" and sample.origin == "first":
            found.setdefault(sample.problem_id, sample.prompt_ids)
    return found


def answer(program: str) -> str:
    """A program as a model answers it."""
    return f"{FENCE}{program.strip(chr(10))}\n```"


def _sample(
    problem: Problem, family: str, prompt: tuple[int, ...], ids: tuple[int, ...], vocabulary: Vocabulary
) -> TokenSample:
    text = vocabulary.text(ids)  # the tokenizer may have normalised it
    program = extract(text, problem.entry_point)
    made = Candidate(
        text=text,
        code=program.code,
        code_start=program.start,
        prompt_ids=prompt,
        completion_ids=ids,
        logprobs=(),
        prompt_tokens=len(prompt),
        completion_tokens=len(ids),
        finish_reason="stop",
        sampling=Sampling(model="", temperature=0.0),
    )
    spans = token_spans(vocabulary, made)
    assert spans is not None, "the text is what the ids spell"
    found = masks(made, Verdict(id="", outcome=Outcome.PASSED, passed=0, total=0), spans)
    return TokenSample(
        id=f"reference/{problem.id}",
        problem_id=problem.id,
        family=family,
        kind="reference",
        origin="reference",
        outcome=Outcome.PASSED,
        prompt_ids=prompt,
        completion_ids=ids,
        sampled=(True,) * len(ids),
        program=found.program,
        blamed=found.blamed,
        executed=found.executed,
    )
