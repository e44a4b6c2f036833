"""The verdict-token critic, trained: which word the model says when it is asked how a program ends.

CodeRL (arXiv 2207.01780), section 3.2: a critic predicts one of four outcomes; its loss is cross-entropy on pooled
logits, and its probabilities at single tokens become token weights.

Deviations. The critic is an adapter of the served base, its logits are the language-model head's rows of the four words
of `agent.critic.VERDICTS`, after the question that the server asks. It also learns from beginnings of programs,
labelled with the finished program's outcome. Padding is never pooled. The class mix of the data is kept.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import peft
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional
from transformers import AutoTokenizer

from agent import prompts
from agent.critic import VERDICTS, logprob_of
from agent.settings import Frozen
from agent.task import Message
from memory.benchmarks import is_benchmark
from memory.records import Outcome, Trajectory
from training import adapter
from training.calibration import auc, brier, ece
from training.dataset import untrustworthy
from training.errors import BadData
from training.sample import OutcomeClass, TokenSample, outcome_class

_CLASS_OF = (OutcomeClass.PASSED, OutcomeClass.FAILED_TEST, OutcomeClass.RUNTIME_ERROR, OutcomeClass.COMPILE_ERROR)
"""By place in VERDICTS."""


class CriticSettings(Frozen):
    """What the critic learns from."""

    prefixes: int = Field(default=2, ge=0)
    """Beginnings of each program."""
    max_tokens: int = Field(default=600, ge=1)
    """Longer examples are left out, and counted."""
    token_weight: float = Field(default=0.25, ge=0)
    """Weight of the loss on the program's pooled tokens, which makes single tokens worth reading; 0: off."""
    micro_tokens: int = Field(default=2048, ge=1)
    """Largest micro-batch, padding included."""
    seed: int = Field(default=0, ge=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CriticExample:
    """A program, or its beginning, and how the whole one ended."""

    messages: tuple[Message, ...]
    """The chat that asked for it."""
    code: str
    outcome: OutcomeClass
    problem_id: str
    family: str
    whole: bool = True
    times: int = 1
    """How often the program was written."""
    logprob: float | None = None
    """Of the answer that it was first written in, by the model that wrote it; None: not known."""

    @property
    def passed(self) -> bool:
        """Whether the whole program passed."""
        return self.outcome is OutcomeClass.PASSED


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """An example as tokens."""

    example: CriticExample
    ids: tuple[int, ...]
    program: tuple[int, ...]
    """Indices of the program's tokens."""

    @property
    def label(self) -> int:
        """Place of the right word in VERDICTS."""
        return _CLASS_OF.index(self.example.outcome)


def examples(
    trajectories: Iterable[Trajectory], family_of: Mapping[str, str], settings: CriticSettings
) -> list[CriticExample]:
    """Each distinct judged program of each problem, and some of its beginnings, at line ends. Left out: without
    consent, benchmarks, problems without a family, verdicts that no reward may rest on, answers without a program."""
    found: dict[tuple[str, str], CriticExample] = {}
    for trajectory in trajectories:
        problem = trajectory.problem
        if not trajectory.consent or problem.id not in family_of or is_benchmark(problem.statement):
            continue
        for attempt in trajectory.attempts:
            code, verdict = attempt.candidate.code, attempt.verdict
            if verdict is None or untrustworthy(problem, verdict) or not code.strip() or is_benchmark(code):
                continue
            if (known := found.get((problem.id, code))) is not None:
                found[problem.id, code] = replace(known, times=known.times + 1)
                continue
            found[problem.id, code] = CriticExample(
                messages=({"role": "user", "content": problem.statement},),
                code=code,
                outcome=outcome_class(verdict.outcome),
                problem_id=problem.id,
                family=family_of[problem.id],
                logprob=logprob_of(attempt.candidate),
            )
    made = []
    for whole in found.values():
        drawn = random.Random(f"{settings.seed}/{whole.problem_id}/{whole.code}")
        parts = _beginnings(whole.code, settings.prefixes, drawn)
        made += [whole, *(replace(whole, code=part, whole=False, logprob=None) for part in parts)]
    return made


class Asker:
    """The question about a program in the model's tokens, as the engine makes it."""

    def __init__(self, base: Path) -> None:
        """Raises BadData if two of the words begin with the same token."""
        self._tokenizer: Any = AutoTokenizer.from_pretrained(str(base), local_files_only=True)
        self.labels = tuple(self._tokenizer.encode(word, add_special_tokens=False)[0] for word in VERDICTS)
        """First token of each of VERDICTS."""
        if len(set(self.labels)) < len(VERDICTS):
            raise BadData(f"two of the words {', '.join(VERDICTS)} begin with the same token in {base}")

    def ask(self, example: CriticExample) -> Asked:
        """The example as tokens."""
        chat = prompts.verdict(example.messages, example.code)
        text: str = self._tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        found = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        code = example.code.strip()
        begin = text.rindex(f"```python\n{code}\n```") + len("```python\n")
        program = [at for at, (a, b) in enumerate(found["offset_mapping"]) if a < begin + len(code) and b > begin]
        return Asked(example=example, ids=tuple(found["input_ids"]), program=tuple(program))

    def ask_all(self, given: Iterable[CriticExample], settings: CriticSettings) -> tuple[list[Asked], int]:
        """Those that are short enough, and how many are not."""
        asked = [self.ask(example) for example in given]
        kept = [one for one in asked if len(one.ids) <= settings.max_tokens]
        return kept, len(asked) - len(kept)


class CriticObjective:
    """`Objective` (training/loop.py) of examples: cross-entropy over the four words."""

    def __init__(self, labels: Sequence[int], settings: CriticSettings, device: torch.device | str = "cpu") -> None:
        self._labels = labels
        self._settings = settings
        self._device = device

    def count(self, examples: Sequence[Asked]) -> int | None:
        """See Objective.count."""
        return len(examples) or None

    def split(self, examples: Sequence[Asked]) -> list[Sequence[Asked]]:
        """See Objective.split: sorted by length."""
        return _split(examples, self._settings.micro_tokens)

    def loss(self, model: peft.PeftModel, part: Sequence[Asked], count: int) -> tuple[Tensor, Mapping[str, float]]:
        """See Objective.loss."""
        states = adapter.hidden(model, _padded([one.ids for one in part], self._device))
        rows = adapter.head(model)[list(self._labels)]
        truth = torch.tensor([one.label for one in part], device=self._device)
        last = _last_logits(states, rows, part)
        loss = functional.cross_entropy(last, truth, reduction="sum") / count
        right = (last.argmax(-1) == truth).sum()
        values = {"verdict": float(loss.detach()), "right": float(right) / count}
        if self._settings.token_weight:
            pooled = torch.stack(
                [(states[row, list(one.program)] @ rows.T).float().amax(0) for row, one in enumerate(part)]
            )
            tokens = functional.cross_entropy(pooled, truth, reduction="sum") / count
            loss = loss + self._settings.token_weight * tokens
            values["pooled"] = float(tokens.detach())
        return loss, values


def probabilities(
    model: peft.PeftModel, asked: Sequence[Asked], labels: Sequence[int], micro_tokens: int = 4096
) -> list[tuple[float, ...]]:
    """Probabilities of VERDICTS for each, in their order. A fresh adapter gives the base model's: zero-shot."""
    found: dict[int, tuple[float, ...]] = {}
    place = {id(one): at for at, one in enumerate(asked)}
    with _reading(model):
        rows = adapter.head(model)[list(labels)]
        for part in _split(asked, micro_tokens):
            states = adapter.hidden(model, _padded([one.ids for one in part], rows.device))
            for one, row in zip(part, _last_logits(states, rows, part).softmax(-1).tolist(), strict=True):
                found[place[id(one)]] = tuple(row)
    return [found[at] for at in range(len(asked))]


def scored(model: peft.PeftModel, samples: Sequence[TokenSample], labels: Sequence[int]) -> list[TokenSample]:
    """Samples with `critic`: after each token of the answer, the probability of the outcome that happened. Read from
    their own ids: up to there the question about the program is the same."""
    made = []
    with _reading(model):
        rows = adapter.head(model)[list(labels)]
        for sample in samples:
            if sample.kind == "reference" or sample.outcome is Outcome.SANDBOX_ERROR:
                made.append(sample)
                continue
            ids = torch.tensor([[*sample.prompt_ids, *sample.completion_ids]], device=rows.device)
            states = adapter.hidden(model, ids)[0, len(sample.prompt_ids) :]
            beliefs = (states @ rows.T).float().softmax(-1)[:, _CLASS_OF.index(sample.outcome_class)]
            made.append(replace(sample, critic=tuple(beliefs.tolist())))
    return made


def report(
    programs: Sequence[CriticExample], chances: Sequence[float], folds: Sequence[int] | None = None
) -> dict[str, Any]:
    """How good P(passed) of whole programs is: all together, and by family; and how often the program that is put first
    passes, against a random one of those that were written, over all problems and over those where that matters.
    `folds`: see `auc`; programs of a family must be of the same one."""
    pairs = [*zip(programs, chances, strict=True)]
    by_family: defaultdict[str, list[tuple[CriticExample, float]]] = defaultdict(list)
    by_problem: defaultdict[str, list[tuple[CriticExample, float]]] = defaultdict(list)
    for pair in pairs:
        by_family[pair[0].family].append(pair)
        by_problem[pair[0].problem_id].append(pair)
    mixed = [some for some in by_problem.values() if len({one.passed for one, _ in some}) == 2]
    return {
        **_measures(pairs, folds),
        "ranking": _ranking([*by_problem.values()]),
        "ranking_of_mixed": _ranking(mixed),
        "families": {name: _measures(some) for name, some in sorted(by_family.items())},
    }


def _beginnings(code: str, count: int, drawn: random.Random) -> list[str]:
    """Some proper beginnings that end with a line and say more than nothing."""
    lines = code.strip().splitlines()
    ends = [end for end in range(1, len(lines)) if lines[end - 1].strip()]
    return ["\n".join(lines[:end]) for end in sorted(drawn.sample(ends, min(count, len(ends))))]


def _split(asked: Sequence[Asked], budget: int) -> list[Sequence[Asked]]:
    parts: list[list[Asked]] = []
    for one in sorted(asked, key=lambda each: len(each.ids)):
        if parts and (len(parts[-1]) + 1) * len(one.ids) <= budget:
            parts[-1].append(one)
        else:
            parts.append([one])
    return [*parts]


def _padded(rows: Sequence[Sequence[int]], device: torch.device | str) -> Tensor:
    """On the right, where causal attention does not see it."""
    made = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    for row, ids in enumerate(rows):
        made[row, : len(ids)] = torch.tensor(ids)
    return made.to(device)


def _last_logits(states: Tensor, rows: Tensor, part: Sequence[Asked]) -> Tensor:
    ends = torch.tensor([len(one.ids) - 1 for one in part], device=states.device)
    return (states[torch.arange(len(part), device=states.device), ends] @ rows.T).float()


@contextmanager
def _reading(model: peft.PeftModel) -> Iterator[None]:
    """Without gradients and dropout."""
    before = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(before)


def _measures(pairs: Sequence[tuple[CriticExample, float]], folds: Sequence[int] | None = None) -> dict[str, Any]:
    values, truth = [value for _, value in pairs], [one.passed for one, _ in pairs]
    if not pairs:
        return {"programs": 0}
    return {
        "programs": len(pairs),
        "passed": sum(truth) / len(truth),
        "auc": auc(values, truth, folds),
        "brier": brier(values, truth),
        "ece": ece(values, truth),
    }


def _ranking(problems: Sequence[Sequence[tuple[CriticExample, float]]]) -> dict[str, Any]:
    return {
        "problems": len(problems),
        "first": _mean([_first(pairs) for pairs in problems]),
        "random": _mean([_random(pairs) for pairs in problems]),
    }


def _random(pairs: Sequence[tuple[CriticExample, float]]) -> float:
    """How often one of the answers passed."""
    return sum(one.times * one.passed for one, _ in pairs) / sum(one.times for one, _ in pairs)


def _first(pairs: Sequence[tuple[CriticExample, float]]) -> float:
    """Whether the one with the highest value passed; equal values share."""
    top = max(value for _, value in pairs)
    return sum(one.passed for one, value in pairs if value == top) / sum(value == top for _, value in pairs)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
