"""Versions of a model measured on problems with hidden tests: answers, pass@k, and the report that the gate judges.

Every answer is kept in a file as soon as it is judged, so that a run that was stopped goes on where it was. The hidden
tests stay in this process: the engine or server that answers sees statements only.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from agent.critic import Critic, Written, logprob_of
from agent.errors import EngineUnavailable
from agent.policy import Policy
from agent.run import Run
from agent.sandbox.contract import Sandbox
from agent.statistics import Interval, paired_difference
from agent.trial import trial
from memory.records import Candidate, Opinion, Outcome, Problem, Sampling

_Result = TypeVar("_Result")
_PAUSES_S = (1.0, 5.0, 15.0, 30.0)
"""Before the second, third, … try of a question that the engine did not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """How every problem is asked."""

    samples: int = 1
    """Answers per problem."""
    temperature: float = 0.0
    seed: int = 0
    """Seed of a problem's first answer; the next answers take the next seeds."""
    max_tokens: int = 1024
    concurrency: int = 8
    """Problems asked at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer, judged with the hidden tests."""

    model: str
    problem: str
    sample: int
    """From 0."""
    code: str
    passed: bool
    outcome: str
    tokens: int
    asked: str = ""
    """Digest of the problem and of how it was asked."""
    logprob: float | None = None
    """Of the whole answer, by its model; None: not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """One problem, asked of both."""

    problem: str
    against: bool
    """Whether the version compared with solved it."""
    candidate: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GateReport:
    """What the gate judges."""

    candidate: str
    against: str
    """The live version, or the base model's name."""
    results: tuple[GateResult, ...]
    problems: str = ""
    """Digest of the problems."""
    measured: str = "solved"
    """solved: the greedy answer passes. ranked: the answer that the critic puts first passes."""
    left_out: tuple[str, ...] = field(default=())
    """Problems that the sandbox could not judge."""

    @property
    def difference(self) -> Interval:
        """Candidate minus `against`, share of problems, paired. Raises ValueError without results."""
        return paired_difference(
            [result.against for result in self.results], [result.candidate for result in self.results]
        )

    def summary(self) -> str:
        """Both counts and the difference, for a person. Raises ValueError without results."""
        found, changed = self.difference, [one for one in self.results if one.candidate != one.against]
        gained = sum(one.candidate for one in changed)
        return (
            f"{sum(one.candidate for one in self.results)} of {len(self.results)} problems solved, {self.against} "
            f"{sum(one.against for one in self.results)}: {100 * found.estimate:+.1f} points "
            f"[{100 * found.low:+.1f}, {100 * found.high:+.1f}], {gained} gained, {len(changed) - gained} lost"
        )


class Answers:
    """Answers in a JSON-lines file, or in memory without one; a context manager."""

    def __init__(self, file: Path | None) -> None:
        self._kept: dict[tuple[str, str, int, str], Answer] = {}
        self._out = None
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            known = {one.name for one in fields(Answer)}
            for line in file.read_text().splitlines() if file.exists() else ():
                try:
                    answer = Answer(**{key: value for key, value in json.loads(line).items() if key in known})
                except (ValueError, TypeError, AttributeError):
                    continue  # the line that was being written when the run was stopped
                self._kept[_key(answer)] = answer
            self._out = file.open("a")
            self._out.write("\n" if file.stat().st_size and not file.read_bytes().endswith(b"\n") else "")

    def __enter__(self) -> Answers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._out is not None:
            self._out.close()

    def get(self, model: str, problem: str, sample: int, asked: str) -> Answer | None:
        """A kept answer to this very question."""
        return self._kept.get((model, problem, sample, asked))

    def keep(self, answer: Answer) -> None:
        """Add one. Raises OSError."""
        self._kept[_key(answer)] = answer
        if self._out is not None:
            self._out.write(json.dumps(asdict(answer)) + "\n")
            self._out.flush()


async def evaluate(
    policy: Policy,
    sandbox: Sandbox,
    problems: Sequence[Problem],
    model: str,
    question: Question,
    answers: Answers,
    *,
    told: Callable[[Answer], None] = lambda answer: None,
) -> dict[str, list[Answer]]:
    """The answers of `model` to every problem that has hidden tests, by problem; `told` hears of each new one.

    Raises EngineUnavailable if the engine stays away, EngineRefused if it knows no such model. Answers that the sandbox
    could not judge have the outcome `sandbox_error`, count as neither and are asked again by the next run.
    """
    made: dict[str, list[Answer]] = {}
    waiting = iter([problem for problem in problems if problem.hidden])

    async def work() -> None:
        for problem in waiting:
            made[problem.id] = await _answered(policy, sandbox, problem, model, question, answers, told)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(question.concurrency):
                group.create_task(work())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures
    return {problem.id: made[problem.id] for problem in problems if problem.id in made}


async def ranking(
    problems: Sequence[Problem],
    made: dict[str, list[Answer]],
    critic: Critic,
    concurrency: int = 8,
) -> dict[str, bool]:
    """For each problem whether the answer passes that `critic` puts first. Raises EngineUnavailable."""
    chosen: dict[str, bool] = {}
    waiting = iter([problem for problem in problems if made.get(problem.id)])

    async def work() -> None:
        for problem in waiting:
            ours = made[problem.id]
            opinions = await _patiently(partial(_opinions, critic, problem, ours))
            best = max(range(len(ours)), key=lambda place: (opinions[place].passed, -place))
            chosen[problem.id] = ours[best].passed

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(work())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures
    return chosen


def solved(made: dict[str, list[Answer]]) -> dict[str, bool]:
    """For each problem whether its first answer passes; those that could not be judged are left out."""
    return {problem: ours[0].passed for problem, ours in made.items() if ours and _judged(ours[0])}


def gate_report(
    candidate: str,
    against: str,
    problems: Sequence[Problem],
    candidate_passed: dict[str, bool],
    against_passed: dict[str, bool],
    measured: str = "solved",
) -> GateReport:
    """Pair what two versions did with the same problems; those that one of them lacks are left out, and named."""
    asked = [problem.id for problem in problems if problem.hidden]
    both = [name for name in asked if name in candidate_passed and name in against_passed]
    return GateReport(
        candidate=candidate,
        against=against,
        results=tuple(
            GateResult(problem=name, against=against_passed[name], candidate=candidate_passed[name]) for name in both
        ),
        problems=digest(problems),
        measured=measured,
        left_out=tuple(name for name in asked if name not in set(both)),
    )


def pass_at_k(samples: int, passed: int, k: int) -> float:
    """Chance that one of `k` answers drawn from `samples` passes, of which `passed` do (Chen et al., arXiv 2107.03374,
    equation 1). Raises ValueError unless 0 <= passed <= samples and 1 <= k <= samples."""
    if not 0 <= passed <= samples or not 1 <= k <= samples:
        raise ValueError(f"pass@{k} of {passed} in {samples}")
    return 1.0 - math.comb(samples - passed, k) / math.comb(samples, k)


def mean_pass_at_k(made: dict[str, list[Answer]], k: int) -> float:
    """The mean of pass@k over the problems whose answers could be judged. Raises ValueError: too few answers."""
    shares = []
    for ours in made.values():
        judged = [answer for answer in ours if _judged(answer)]
        if judged:
            shares.append(pass_at_k(len(judged), sum(answer.passed for answer in judged), k))
    return math.fsum(shares) / max(1, len(shares))


def digest(problems: Iterable[Problem]) -> str:
    """Of statements and hidden tests."""
    found = hashlib.sha256()
    for problem in problems:
        found.update(repr((problem.id, problem.statement, problem.hidden)).encode())
    return f"sha256:{found.hexdigest()}"


async def _answered(
    policy: Policy,
    sandbox: Sandbox,
    problem: Problem,
    model: str,
    question: Question,
    answers: Answers,
    told: Callable[[Answer], None],
) -> list[Answer]:
    asked = _asked(problem, question)
    kept = {number: answers.get(model, problem.id, number, asked) for number in range(question.samples)}
    ours = {number: answer for number, answer in kept.items() if answer is not None}
    missing = [number for number in kept if number not in ours]
    if missing:
        first = missing[0]
        sampling = Sampling(
            model=model,
            temperature=question.temperature,
            seed=question.seed + first,
            max_tokens=question.max_tokens,
        )
        candidates = await _patiently(lambda: _sampled(policy, problem, question.samples - first, sampling))
        for candidate in candidates:
            number = (candidate.sampling.seed or 0) - question.seed
            if number not in ours:
                ours[number] = await _judge(sandbox, problem, candidate, model, number, asked)
                if _judged(ours[number]):
                    answers.keep(ours[number])
                told(ours[number])
    return [ours[number] for number in sorted(ours)]


async def _sampled(policy: Policy, problem: Problem, n: int, sampling: Sampling) -> list[Candidate]:
    messages = [{"role": "user", "content": problem.statement}]
    async with aclosing(policy.sample(messages, n, sampling, Run(), entry_point=problem.entry_point)) as stream:
        return [candidate async for candidate in stream]


async def _opinions(critic: Critic, problem: Problem, ours: Sequence[Answer]) -> list[Opinion]:
    programs = [Written(answer.code, answer.logprob) for answer in ours]
    return await critic.judge([{"role": "user", "content": problem.statement}], programs, Run())


async def _judge(
    sandbox: Sandbox, problem: Problem, candidate: Candidate, model: str, number: int, asked: str
) -> Answer:
    verdict = await trial(sandbox, problem, candidate.code, problem.hidden, owner=f"evaluate {model}")
    return Answer(
        model=model,
        problem=problem.id,
        sample=number,
        code=candidate.code,
        passed=verdict.outcome is Outcome.PASSED,
        outcome=str(verdict.outcome),
        tokens=candidate.completion_tokens,
        asked=asked,
        logprob=logprob_of(candidate),
    )


async def _patiently(call: Callable[[], Awaitable[_Result]]) -> _Result:
    """What the engine answers, asked again while it is away. Raises EngineUnavailable."""
    for pause in _PAUSES_S:
        try:
            return await call()
        except EngineUnavailable:
            await asyncio.sleep(pause)
    return await call()


def _asked(problem: Problem, question: Question) -> str:
    how = (problem.statement, question.temperature, question.seed, question.max_tokens, digest([problem]))
    return hashlib.sha256(repr(how).encode()).hexdigest()[:16]


def _judged(answer: Answer) -> bool:
    return answer.outcome != Outcome.SANDBOX_ERROR


def _key(answer: Answer) -> tuple[str, str, int, str]:
    return answer.model, answer.problem, answer.sample, answer.asked
