"""Stored trajectories become token samples: what is refused is counted by its reason, what is kept is split by family.

A reward must rest on a verdict that the program could not forge, of tests that somebody gave; a sample must have been
made by a known version of the policy, with the ids and log-probabilities that the engine reported; and no benchmark is
ever trained on. `Builder` takes one trajectory at a time and keeps only what training needs of it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import isfinite

from pydantic import Field

from agent.settings import Frozen
from memory.benchmarks import is_benchmark
from memory.experience import Selection
from memory.fingerprint import fingerprint
from memory.records import Attempt, Outcome, Problem, TestSource, Trajectory, Verdict
from memory.trajectories import TrajectoryStore
from training.errors import BadData
from training.families import families, held_out
from training.sample import TokenSample
from training.spans import masks
from training.tokens import Vocabulary, token_spans
from training.versions import version_number

REASONS = {
    "no_consent": "its tenant does not allow training",
    "benchmark": "it is a problem of HumanEval, or the solution of one",
    "recalled": "it comes from memory and was not sampled",
    "unknown_version": "it was made by neither the base model nor an actor",
    "stale": "it was made too many versions ago",
    "no_verdict": "it was never executed",
    "sandbox_error": "its execution failed through our fault",
    "untested": "there were no tests, or only tests that a model wrote",
    "in_process": "its tests ran beside it, so that it could have forged the verdict",
    "flaky": "two runs of it disagreed",
    "no_ids": "the engine told no token ids or no log-probabilities",
    "too_long": "it has more tokens than allowed",
    "drift": "its token ids do not spell its text",
    "duplicate": "the same was sampled before, from the same prompt",
}
"""Why an attempt is no sample; of several reasons the first counts."""


class DatasetSettings(Frozen):
    """What becomes a sample, and what is held out."""

    base: str
    """The base model's name as the engine serves it: version 0 of the policy."""
    current: int | None = Field(default=None, ge=0)
    """Version that is being trained; None: no sample is too old."""
    max_lag: int = Field(default=4, ge=0)
    """Versions that a sample may be older than `current`."""
    max_tokens: int = Field(default=2048, ge=1)
    """Longest prompt and completion together."""
    keep_duplicates: bool = False
    """Keep equal completions of one prompt that were drawn with different seeds: without them a program's share of a
    group is not its probability, with them the same tokens are trained on several times."""
    held_out_share: float = Field(default=0.1, ge=0, lt=1)
    """Of the families, about."""
    held_out: tuple[str, ...] = ()
    """Problems or families that are held out besides."""
    seed: int = Field(default=0, ge=0)
    """Another one holds other families out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What became of the attempts."""

    trajectories: int = 0
    kept: int = 0
    """Samples, of both sides."""
    refused: Mapping[str, int] = field(default_factory=dict)
    """By reason; only those that occurred."""

    @property
    def attempts(self) -> int:
        """All attempts that were looked at."""
        return self.kept + sum(self.refused.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Samples of both sides of the split, and what they are about."""

    train: tuple[TokenSample, ...]
    held_out: tuple[TokenSample, ...]
    problems: Mapping[str, Problem]
    """By `TokenSample.problem_id`, tests left out; also of problems all of whose attempts were refused, benchmarks and
    those without consent apart."""
    families: Mapping[str, str]
    """Of every problem, by its id."""
    families_held_out: frozenset[str]
    """Whatever else is trained on (reference solutions) must not be of these: `split`."""
    counts: Counts
    digest: str
    """SHA-256 of the samples, hexadecimal."""


class Builder:
    """Takes trajectories, gives the dataset."""

    def __init__(self, vocabulary: Vocabulary, settings: DatasetSettings) -> None:
        self._vocabulary = vocabulary
        self._settings = settings
        self._samples: list[TokenSample] = []
        self._problems: dict[str, Problem] = {}
        self._refused: Counter[str] = Counter()
        self._trajectories = 0
        self._seen: set[tuple[object, ...]] = set()
        self._benchmarks: dict[str, bool] = {}

    def know(self, problem: Problem) -> None:
        """A problem that may have no attempt, and whose reference may be trained on: it takes part in the families."""
        known = self._problems.get(problem.id)
        if not self._is_benchmark(problem) and (known is None or (known.reference is None and problem.reference)):
            self._problems[problem.id] = replace(problem, visible=(), hidden=())

    def add(self, trajectory: Trajectory) -> None:
        """Take one in."""
        self._trajectories += 1
        if not trajectory.consent:
            self._refused["no_consent"] += len(trajectory.attempts)
            return
        if self._is_benchmark(trajectory.problem):
            self._refused["benchmark"] += len(trajectory.attempts)
            return
        problem_id = _problem_id(trajectory)
        self.know(replace(trajectory.problem, id=problem_id))
        for place, attempt in enumerate(trajectory.attempts):
            made = self._sample(trajectory, problem_id, place, attempt)
            if isinstance(made, str):
                self._refused[made] += 1
            else:
                self._samples.append(made)

    def finish(self) -> Dataset:
        """Everything so far, split. Raises BadData if no sample is left to train on."""
        settings = self._settings
        family_of = families(list(self._problems.values()))
        out = held_out(family_of, settings.held_out_share, settings.seed, settings.held_out)
        samples = [replace(sample, family=family_of[sample.problem_id]) for sample in self._samples]
        train, aside = split(samples, out)
        refused = {reason: self._refused[reason] for reason in REASONS if self._refused[reason]}
        if not train:
            raise BadData(
                f"nothing is left to train on: of {self._trajectories} trajectories {len(aside)} samples are held out, "
                f"and attempts were refused for {refused or 'no reason'}; collect more (`burnish train collect`)"
            )
        return Dataset(
            train=tuple(train),
            held_out=tuple(aside),
            problems=self._problems,
            families=family_of,
            families_held_out=out,
            counts=Counts(trajectories=self._trajectories, kept=len(samples), refused=refused),
            digest=digest(samples),
        )

    def _sample(self, trajectory: Trajectory, problem_id: str, place: int, attempt: Attempt) -> TokenSample | str:
        """The sample of an attempt, or why it is none."""
        candidate, verdict = attempt.candidate, attempt.verdict
        version = candidate.sampling.model
        if is_benchmark(candidate.code):
            return "benchmark"
        if attempt.origin == "recalled":
            return "recalled"
        number = version_number(version, self._settings.base)
        if number is None:
            return "unknown_version"
        if self._settings.current is not None and self._settings.current - number > self._settings.max_lag:
            return "stale"
        if verdict is None:
            return "no_verdict"
        if why := untrustworthy(trajectory.problem, verdict):
            return why
        ids, logprobs = candidate.completion_ids, candidate.logprobs
        if not ids or not candidate.prompt_ids or len(ids) != len(logprobs) or not all(map(isfinite, logprobs)):
            return "no_ids"
        if len(candidate.prompt_ids) + len(ids) > self._settings.max_tokens:
            return "too_long"
        spans = token_spans(self._vocabulary, candidate)
        if spans is None:
            return "drift"
        temperature, seed = candidate.sampling.temperature, candidate.sampling.seed
        drawn: tuple[object, ...] = (problem_id, candidate.prompt_ids, ids, version, temperature == 0.0)
        if self._settings.keep_duplicates:
            drawn += (seed,) if seed is not None else (trajectory.id, place)
        if drawn in self._seen:
            return "duplicate"
        self._seen.add(drawn)
        found = masks(candidate, verdict, spans, trajectory.problem.entry_point)
        return TokenSample(
            id=f"{trajectory.id}/{place}",
            problem_id=problem_id,
            family="",
            trajectory_id=trajectory.id,
            attempt=place,
            origin=attempt.origin,
            policy_version=version,
            temperature=temperature,
            finish_reason=candidate.finish_reason,
            outcome=verdict.outcome,
            passed=verdict.passed,
            total=verdict.total,
            error=_error(verdict),
            prompt_ids=candidate.prompt_ids,
            completion_ids=ids,
            behaviour_logprobs=logprobs,
            sampled=(True,) * len(ids),
            program=found.program,
            blamed=found.blamed,
            executed=found.executed,
        )

    def _is_benchmark(self, problem: Problem) -> bool:
        key = fingerprint(problem.statement)
        if key not in self._benchmarks:
            texts = (problem.statement, problem.reference or "")
            self._benchmarks[key] = any(is_benchmark(text) for text in texts if text)
        return self._benchmarks[key]


def dataset(
    trajectories: Iterable[Trajectory],
    vocabulary: Vocabulary,
    settings: DatasetSettings,
    problems: Iterable[Problem] = (),
) -> Dataset:
    """The samples in some trajectories; `problems` are those whose references are trained on too. Raises BadData if
    no sample is left to train on."""
    builder = Builder(vocabulary, settings)
    for problem in problems:
        builder.know(problem)
    for trajectory in trajectories:
        builder.add(trajectory)
    return builder.finish()


async def read_dataset(
    store: TrajectoryStore,
    vocabulary: Vocabulary,
    settings: DatasetSettings,
    selection: Selection | None = None,
    problems: Iterable[Problem] = (),
) -> Dataset:
    """As `dataset`, of a store, by default of all of it, read some at a time. Raises BadData and StoreUnavailable."""
    builder = Builder(vocabulary, settings)
    for problem in problems:
        builder.know(problem)
    async for trajectory in store.select(selection or Selection()):
        builder.add(trajectory)
    return builder.finish()


def split(
    samples: Iterable[TokenSample], families_held_out: Collection[str]
) -> tuple[list[TokenSample], list[TokenSample]]:
    """Those to train on, and those held out: a family is on one side only."""
    train: list[TokenSample] = []
    aside: list[TokenSample] = []
    for sample in samples:
        (aside if sample.family in families_held_out else train).append(sample)
    return train, aside


def groups(samples: Iterable[TokenSample]) -> list[list[TokenSample]]:
    """The samples that credit compares: of one problem, one prompt and one version, in the order they came."""
    found: dict[tuple[object, ...], list[TokenSample]] = {}
    for sample in samples:
        found.setdefault((sample.problem_id, sample.prompt_ids, sample.policy_version), []).append(sample)
    return list(found.values())


def digest(samples: Iterable[TokenSample]) -> str:
    """SHA-256 of some samples, hexadecimal; their order does not count."""
    each = sorted(hashlib.sha256(repr(sample).encode("utf-8", "surrogatepass")).digest() for sample in samples)
    return hashlib.sha256(b"".join(each)).hexdigest()


def untrustworthy(problem: Problem, verdict: Verdict) -> str:
    """Why no reward may rest on a verdict; empty if one may."""
    if verdict.outcome is Outcome.SANDBOX_ERROR:
        return "sandbox_error"
    if verdict.total == 0 or (not problem.hidden and problem.visible_source is TestSource.GENERATED):
        return "untested"
    if verdict.integrity != "isolated":
        return "in_process"
    return "flaky" if verdict.flaky else ""


def _problem_id(trajectory: Trajectory) -> str:
    """A problem that a request stated has the request's id; it is known by what it says, so that it meets itself."""
    if trajectory.problem.id != trajectory.id:
        return trajectory.problem.id
    return f"prompt/{fingerprint(trajectory.problem.statement)[:32]}"


def _error(verdict: Verdict) -> str:
    if verdict.outcome is Outcome.PASSED:
        return ""
    return verdict.error.type if verdict.error is not None else verdict.outcome.value
