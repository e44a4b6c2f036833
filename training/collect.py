"""Samples to learn from: a problem file, one model version, its answers, and what the hidden tests say of them.

CodeRL (arXiv 2207.01780, section 3.2) draws some programs and one greedy one per problem; so does this, by default at
temperature 1 without truncation, where the engine's raw log-probabilities are those of the sampling. Every answer is
kept whole. A trajectory's id is a hash of what was asked, so that a run that was stopped goes on where it ended.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from pydantic import Field, model_validator

from agent.budget import Budget
from agent.critic import VerdictTokenCritic
from agent.errors import AgentError, BadTests, EngineRefused, EngineUnavailable
from agent.graph import Graph, Request, Services, build_graph, initial_state
from agent.policy import Policy
from agent.run import Run
from agent.sampling import END_OF_CODE
from agent.sandbox.contract import Sandbox
from agent.select import ranked
from agent.settings import Frozen
from agent.task import Message
from agent.trajectory import trajectory
from memory.benchmarks import benchmark_in
from memory.errors import StoreUnavailable
from memory.records import Attempt, Candidate, CodeTest, Outcome, Problem, Sampling, Trajectory
from memory.trajectories import TrajectoryStore
from memory.wire import to_json
from training.errors import BadData, TrainingError
from training.judge import HiddenTests

Result = TypeVar("Result")

TENANT = "collect"
"""Whose the trajectories are."""
_PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Before an engine that failed is asked again; the last one from then on."""
_LOOP_WIDTH = 4
"""Streams that one refinement loop counts for: it asks for one answer, then for some at a time."""

Prefixes = Callable[[Problem], str]
"""The beginning of the answers to a problem, which the model is given (curriculum, StepCoder); empty: none."""


class CollectSettings(Frozen):
    """What is asked for each problem."""

    samples: int = Field(default=8, ge=0)
    """Answers besides the greedy one."""
    temperature: float = Field(default=1.0, gt=0)
    """Of the samples. The stored log-probabilities are those of the sampling at 1 only."""
    greedy: bool = True
    """Whether there is a greedy answer, the baseline."""
    max_tokens: int = Field(default=1024, ge=1)
    """Longest answer; one that was cut off is kept and marked."""
    seed: int = Field(default=0, ge=0)
    """Another one gives other samples of the same version."""
    streams: int = Field(default=32, ge=1)
    """Answers that the engine makes at the same time."""
    patience_s: float = Field(default=60.0, ge=0)
    """How long an engine that fails is asked again before the run ends."""
    loop: bool = False
    """Run the refinement loop on the statement's own examples instead, so that there are repair turns to learn from;
    every attempt is judged by the hidden tests afterwards."""
    loop_candidates: int = Field(default=16, ge=1)
    """Answers of one loop."""
    loop_rounds: int = Field(default=3, ge=0)
    """Repair rounds of one loop."""
    loop_deadline_s: float = Field(default=900.0, gt=0)
    """Time of one loop."""

    @property
    def width(self) -> int:
        """Answers that a problem wants at once."""
        return min(self.streams, _LOOP_WIDTH if self.loop else self.samples + self.greedy)

    @model_validator(mode="after")
    def _possible(self) -> CollectSettings:
        if self.samples + self.greedy == 0:
            raise ValueError("nothing would be asked: give samples, or greedy")
        if self.samples > self.streams:
            raise ValueError("the samples of a problem are asked in one call: streams must be at least samples")
        return self


@dataclass(slots=True, kw_only=True)
class Collected:
    """What a run has done so far."""

    total: int
    """Problems asked for."""
    before: int = 0
    """Of these, stored by an earlier run."""
    stored: int = 0
    """Stored by this one."""
    refused: dict[str, str] = field(default_factory=dict)
    """Problems that could not be collected, and why."""
    attempts: int = 0
    passed: int = 0
    solved: int = 0
    """Problems with a passing attempt, of `stored`."""
    completion_tokens: int = 0
    stopped: bool = False
    """Ended before everything was done, because it was told to."""

    @property
    def done(self) -> int:
        """Problems that need nothing more."""
        return self.before + self.stored + len(self.refused)


def no_prefix(problem: Problem) -> str:
    """Nothing is given: the policy writes the whole answer."""
    return ""


def refuse_benchmarks(problems: Sequence[Problem]) -> None:
    """Raises BadData if a problem is one of HumanEval's."""
    for problem in problems:
        found = benchmark_in(problem.statement) or (benchmark_in(problem.reference) if problem.reference else None)
        if found is not None:
            raise BadData(
                f"problem {problem.id} is {found} of HumanEval, by the guard in memory/benchmarks.py: benchmarks are "
                "never collected and never trained on; use another file, or take the problem out"
            )


def trajectory_id(problem: Problem, model: str, settings: CollectSettings, prefix: str = "") -> str:
    """Equal for equal questions: problem, tests, model version, sampling settings, seed and given beginning."""
    asked = settings.model_dump(exclude={"streams", "patience_s", "loop_deadline_s"})
    parts = [to_json(replace(problem, family=None)), model, prefix, asked]
    return f"collect_{hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:48]}"


async def collect(
    problems: Sequence[Problem],
    model: str,
    settings: CollectSettings,
    *,
    policy: Policy,
    sandbox: Sandbox,
    store: TrajectoryStore,
    prefixes: Prefixes = no_prefix,
    stop: asyncio.Event | None = None,
    tell: Callable[[Collected], None] = lambda collected: None,
) -> Collected:
    """Ask, judge and store every problem that is not stored yet; problems under way are finished after `stop` is set.

    Raises BadData for benchmark problems and for an engine that reports no token ids; EngineUnavailable, EngineRefused
    (the model or the key is wrong), StoreUnavailable: what was stored before stays.
    """
    refuse_benchmarks(problems)
    collector = _Collector(model, settings, policy, sandbox, store, stop or asyncio.Event())
    collected = Collected(total=len(problems))
    questions = []
    for problem in problems:
        if why := _unusable(problem):
            collected.refused[problem.id] = why
        else:
            prefix = prefixes(problem)
            questions.append(_Question(trajectory_id(problem, model, settings, prefix), problem, prefix))
    known = await store.known([question.id for question in questions])
    collected.before = sum(question.id in known for question in questions)
    tell(collected)
    await collector.work([question for question in questions if question.id not in known], collected, tell)
    return collected


def _unusable(problem: Problem) -> str:
    """Why no reward can be given for it; empty if one can."""
    if not problem.hidden:
        return "it has no tests"
    if any(isinstance(test, CodeTest) and test.in_process for test in problem.hidden):
        return "its tests run beside the program, which could forge their result"
    return ""


@dataclass(frozen=True, slots=True)
class _Question:
    """One problem to be asked."""

    id: str
    problem: Problem
    prefix: str

    @property
    def messages(self) -> tuple[Message, ...]:
        return ({"role": "user", "content": self.problem.statement},)


class _Slots:
    """The engine's streams. Whoever wants several gets all of them before the next one in line gets any."""

    def __init__(self, count: int) -> None:
        self._free = asyncio.Semaphore(count)
        self._line = asyncio.Lock()

    async def take(self, count: int) -> None:
        async with self._line:
            taken = 0
            try:
                while taken < count:
                    await self._free.acquire()
                    taken += 1
            except BaseException:
                self.give_back(taken)
                raise

    def give_back(self, count: int) -> None:
        for _ in range(count):
            self._free.release()


class _Collector:
    """One run over the problems."""

    def __init__(
        self,
        model: str,
        settings: CollectSettings,
        policy: Policy,
        sandbox: Sandbox,
        store: TrajectoryStore,
        stop: asyncio.Event,
    ) -> None:
        self._model = model
        self._settings = settings
        self._policy = policy
        self._sandbox = sandbox
        self._store = store
        self._stop = stop
        self._slots = _Slots(settings.streams)
        self._graph: Graph | None = build_graph() if settings.loop else None

    async def work(
        self, questions: Sequence[_Question], collected: Collected, tell: Callable[[Collected], None]
    ) -> None:
        """Some questions at a time; a failure of ours ends the run after what is under way."""
        waiting = iter(questions)
        failures: list[Exception] = []

        async def worker() -> None:
            for question in waiting:
                if self._stop.is_set():
                    collected.stopped = True
                    return
                try:
                    made = await self._one(question)
                    await self._store.append(made)
                except BadTests as error:
                    collected.refused[question.problem.id] = f"its tests cannot be run: {error}"
                except EngineRefused as error:
                    if error.status not in (400, 413, 422):
                        failures.append(error)
                        self._stop.set()
                    else:
                        collected.refused[question.problem.id] = str(error)
                except (AgentError, StoreUnavailable, TrainingError) as error:
                    failures.append(error)
                    self._stop.set()
                else:
                    _count(collected, made)
                tell(collected)

        at_once = max(1, 2 * self._settings.streams // self._settings.width)
        if self._settings.loop:
            at_once = max(1, self._settings.streams // self._settings.width)
        async with asyncio.TaskGroup() as group:
            for _ in range(min(at_once, len(questions))):
                group.create_task(worker())
        if failures:
            raise failures[0]

    async def _one(self, question: _Question) -> Trajectory:
        started = time.time()
        made = await (self._looped(question, started) if self._settings.loop else self._sampled(question, started))
        for attempt in made.attempts:
            if not attempt.candidate.completion_ids or not attempt.candidate.logprobs:
                raise BadData(
                    "the engine reports no token ids or no log-probabilities, without which nothing can be trained; "
                    "collect from vLLM, or from a Burnish server over it"
                )
        verdicts = [attempt.verdict for attempt in made.attempts if attempt.verdict is not None]
        if all(verdict.outcome is Outcome.SANDBOX_ERROR for verdict in verdicts):
            said = next((verdict.error.message for verdict in verdicts if verdict.error is not None), "nothing")
            raise BadData(
                f"the sandbox failed on every program for {question.problem.id}: {said}; see `burnish doctor`"
            )
        return made

    async def _sampled(self, question: _Question, started: float) -> Trajectory:
        """The greedy answer and the samples, judged as they come."""
        settings, run = self._settings, Run()
        common = Sampling(
            model=self._model,
            temperature=0.0,
            seed=_seed(settings.seed, question.problem),
            max_tokens=settings.max_tokens,
            stop=(END_OF_CODE,) if question.prefix else (),
        )
        judge = HiddenTests(self._sandbox, question.problem, run)
        calls = [self._asked(question, 1, common, run, judge)] if settings.greedy else []
        if settings.samples:
            drawn = replace(common, temperature=settings.temperature)
            calls.append(self._asked(question, settings.samples, drawn, run, judge))
        attempts = [attempt for made in await _all(calls) for attempt in made]
        return Trajectory(
            id=question.id,
            problem=question.problem,
            attempts=tuple(attempts),
            accepted=ranked(attempts)[0],
            status="finished",
            model_version=self._model,
            tenant=TENANT,
            consent=True,
            started=started,
            ended=time.time(),
            rounds=0,
            totals=run.totals(),
        )

    async def _asked(
        self, question: _Question, count: int, sampling: Sampling, run: Run, judge: HiddenTests
    ) -> list[Attempt]:
        """The attempts of one call, in the order of their seeds; an engine that fails is asked again for a while."""
        attempts: dict[int, asyncio.Task[Attempt]] = {}
        origin: Literal["first", "sample"] = "first" if sampling.temperature == 0.0 else "sample"
        failing_since: float | None = None
        pauses = iter(_PAUSES_S)
        try:
            async with asyncio.TaskGroup() as group:
                while len(attempts) < count:
                    try:
                        async for candidate in self._answers(question, count, sampling, run):
                            seed = candidate.sampling.seed or 0
                            if seed not in attempts:
                                attempts[seed] = group.create_task(judge.attempt(candidate, origin))
                    except EngineUnavailable:
                        failing_since = failing_since or time.monotonic()
                        pause = next(pauses, _PAUSES_S[-1])
                        if time.monotonic() + pause - failing_since > self._settings.patience_s:
                            raise
                        await asyncio.sleep(pause)
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from failures
        return [attempts[seed].result() for seed in sorted(attempts)]

    async def _answers(
        self, question: _Question, count: int, sampling: Sampling, run: Run
    ) -> AsyncGenerator[Candidate]:
        """The engine's answers; each gives its stream back when it is complete."""
        held = count
        await self._slots.take(held)
        try:
            with run.busy("engine"):
                answers = self._policy.sample(
                    question.messages,
                    count,
                    sampling,
                    run,
                    prefix=question.prefix,
                    entry_point=question.problem.entry_point,
                )
                async with aclosing(answers):
                    async for candidate in answers:
                        held -= 1
                        self._slots.give_back(1)
                        yield candidate
        finally:
            self._slots.give_back(held)

    async def _looped(self, question: _Question, started: float) -> Trajectory:
        """The refinement loop without critic and memory; then the hidden tests' verdicts in place of the visible."""
        assert self._graph is not None, "made where the settings ask for the loop"
        settings, run, problem = self._settings, Run(), question.problem
        request = Request(
            id=question.id,
            messages=question.messages,
            sampling=Sampling(
                model=self._model,
                temperature=0.0,
                seed=_seed(settings.seed, problem),
                max_tokens=settings.max_tokens,
            ),
            budget=Budget(
                max_candidates=settings.loop_candidates,
                max_rounds=settings.loop_rounds,
                deadline=time.time() + settings.loop_deadline_s,
                repair=True,
                prefix_seeds=False,
                generated_tests=False,
                critic=False,
                memory=False,
            ),
            entry_point=problem.entry_point,
        )
        services = Services(self._policy, self._sandbox, VerdictTokenCritic(self._policy, self._model), run)
        await self._slots.take(settings.width)
        try:
            state = await self._graph.ainvoke(
                initial_state(request), config={"recursion_limit": 10_000}, context=services
            )
        finally:
            self._slots.give_back(settings.width)
        made = trajectory(
            request, run, status=state["ending"] or "finished", tenant=TENANT, consent=True, started=started
        )
        if not made.attempts:
            raise EngineUnavailable(f"the loop on {problem.id} got no answer within {settings.loop_deadline_s:g} s")
        judge = HiddenTests(self._sandbox, problem, run)
        verdicts = await _all([judge.verdict(attempt.candidate) for attempt in made.attempts])
        attempts = [replace(one, verdict=found) for one, found in zip(made.attempts, verdicts, strict=True)]
        visible = replace(problem, visible=made.problem.visible, visible_source=made.problem.visible_source)
        return replace(made, problem=visible, attempts=tuple(attempts), ended=time.time(), totals=run.totals())


async def _all(works: Sequence[Coroutine[Any, Any, Result]]) -> list[Result]:
    """All results; the first failure ends the others."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in works]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures
    return [task.result() for task in tasks]


def _seed(seed: int, problem: Problem) -> int:
    """First seed of a problem's answers: the same wherever it stands in a file; below 2³¹ with room for the others."""
    digest = hashlib.sha256(f"{seed} {problem.id}".encode()).digest()
    return int.from_bytes(digest[:4]) % (2**31 - 2**16)


def _count(collected: Collected, made: Trajectory) -> None:
    passed = [attempt.verdict is not None and attempt.verdict.outcome is Outcome.PASSED for attempt in made.attempts]
    collected.stored += 1
    collected.attempts += len(passed)
    collected.passed += sum(passed)
    collected.solved += any(passed)
    collected.completion_tokens += made.totals.completion_tokens
