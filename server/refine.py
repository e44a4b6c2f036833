"""The bridge: one chat request becomes one refinement, and its result an answer with a verdict and a trajectory."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from agent.answer import answer_text
from agent.budget import Budget
from agent.critic import VerdictTokenCritic
from agent.errors import BadTests, EngineRefused, EngineUnavailable
from agent.experience.recall import Recall
from agent.given_tests import read_tests
from agent.graph import Graph, Request, Services, initial_state
from agent.policy import Policy
from agent.run import Run
from agent.sandbox.contract import Sandbox
from agent.select import Claim, claim, distinct, ranked
from agent.settings import MemorySettings, RefineSettings
from agent.task import Message
from agent.trajectory import trajectory
from memory.experience import ExperienceStore
from memory.recent import Key, Recent
from memory.records import Attempt, Sampling, TestSource, Totals, Trajectory
from server.adapters.routing import Models
from server.adapters.service import Adapters
from server.adapters.watch import Ending
from server.errors import ApiError, bad_request, context_too_long, not_ready
from server.learning import Learning, Lesson
from server.metrics import Metrics
from server.outbox import Outbox
from server.schemas.chat import ChatRequest

_MARGIN_S = 1.0
_HEADER_BOUND_S = 270.0
"""Some HTTP clients give up after 300 s without headers."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer of a refinement."""

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class Tests:
    """What an answer was checked with."""

    source: TestSource
    passed: int
    total: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What a refinement answers, before it is put into a wire shape."""

    choices: tuple[Choice, ...]
    verdict: Claim
    tests: Tests
    candidates: int
    rounds: int
    model_version: str
    totals: Totals
    trajectory_id: str
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True)
class Memory:
    """Long-term and short-term memory, and what fills them."""

    settings: MemorySettings
    experiences: ExperienceStore
    recent: Recent
    learning: Learning


@dataclass(frozen=True, slots=True)
class Refiner:
    """Everything a refinement needs; one per application."""

    graph: Graph
    policy: Policy
    adapters: Adapters
    sandbox: Sandbox
    outbox: Outbox
    metrics: Metrics
    settings: RefineSettings
    train_on_traffic: bool
    memory: Memory | None = None
    """None: nothing is remembered."""

    async def prepare(
        self, chat: ChatRequest, model: str, context_length: int | None, stated_timeout_s: float | None
    ) -> Request:
        """Check everything that can be checked before any generation. Raises ApiError."""
        options = chat.options
        try:
            tests = read_tests(options.tests or ())
        except BadTests as error:
            raise bad_request(str(error), param="burnish.tests") from error
        messages = chat.chat()
        if context_length is not None:
            try:
                prompt = await self.policy.count_tokens(messages, model)
            except EngineUnavailable as error:
                raise not_ready(str(error), 5.0) from error
            if prompt is not None and prompt + (chat.answer_limit or 1) > context_length:
                raise context_too_long(prompt, context_length)
        return Request(
            id=f"traj_{uuid.uuid4().hex}",
            messages=messages,
            sampling=Sampling(
                model=model,
                temperature=1.0 if chat.temperature is None else chat.temperature,
                top_p=1.0 if chat.top_p is None else chat.top_p,
                seed=None if chat.seed is None else chat.seed % 2**31,
                max_tokens=chat.answer_limit,
            ),
            budget=self._budget(chat, stated_timeout_s),
            tests=tests,
            entry_point=options.entry_point,
            context_length=context_length,
        )

    async def run(
        self,
        request: Request,
        tenant: str,
        tell: Callable[[str], None] = lambda line: None,
        *,
        version: str | None = None,
    ) -> Answer:
        """Refine and store the trajectory, also when cancelled. The version, if none is given the live one, stays the
        same until the end. Raises ApiError when there is nothing to answer."""
        with self.adapters.routing.pinned(version) as models:
            chosen = replace(request, sampling=replace(request.sampling, model=models.actor))
            return await self._run(chosen, models, tenant, tell)

    async def _run(self, request: Request, models: Models, tenant: str, tell: Callable[[str], None]) -> Answer:
        run, started, memory = Run(tell), time.time(), self.memory
        status: Literal["finished", "deadline", "cancelled", "failed"] = "failed"
        detail = ""
        session = session_of(request.messages, tenant)
        services = Services(
            policy=self.policy,
            sandbox=self.sandbox,
            critic=VerdictTokenCritic(self.policy, models.critic, self.adapters.routing.calibration(models.critic)),
            run=run,
            recall=Recall(memory.experiences, tenant, memory.settings) if memory else None,
            recent=memory.recent.recent(session) if memory else (),
        )
        try:
            state = await self.graph.ainvoke(
                initial_state(request),
                config={"configurable": {"thread_id": request.id}, "recursion_limit": 10_000},
                context=services,
            )
            status = state["ending"] or "finished"
            if not run.attempts:
                raise self._nothing(status)
        except asyncio.CancelledError:
            status = "cancelled"
            self.metrics.cancelled.inc()
            raise
        except EngineRefused as error:
            detail = str(error)
            if error.status == 404 and self.adapters.routing.knows(models.actor):
                self.adapters.routing.lost(models.actor)
                raise not_ready(f"the engine has lost {models.actor}; it is loaded again", 10.0) from error
            raise bad_request(f"the engine refused the request: {error.body[:300]}") from error
        except EngineUnavailable as error:
            detail = str(error)
            raise not_ready(f"the engine failed: {error}", 15.0) from error
        finally:
            finished = trajectory(
                request,
                run,
                status=status,
                tenant=tenant,
                consent=self.train_on_traffic,
                started=started,
                detail=detail,
            )
            if status != "cancelled":
                self.adapters.saw(models, _ended(finished, status))
            if memory is not None and request.budget.memory:
                memory.learning.learn(Lesson(finished, session))
            if status in ("cancelled", "failed"):
                await asyncio.shield(asyncio.ensure_future(self.outbox.put(finished)))
        await self.outbox.put(finished)
        answer = self._answer(finished, request.budget.wanted)
        self._count(answer, status)
        return answer

    def _budget(self, chat: ChatRequest, stated_timeout_s: float | None) -> Budget:
        options, defaults = chat.options, self.settings
        for name, asked, bound in (
            ("max_candidates", options.max_candidates, defaults.candidates_bound),
            ("max_rounds", options.max_rounds, defaults.rounds_bound),
            ("deadline_s", options.deadline_s, defaults.deadline_bound_s),
        ):
            if asked is not None and asked > bound:
                raise bad_request(f"burnish.{name} is {asked}; this server allows at most {bound}", f"burnish.{name}")
        seconds = options.deadline_s or defaults.deadline_s
        if stated_timeout_s is not None and not chat.stream:
            bound = min(0.9 * stated_timeout_s, stated_timeout_s - _MARGIN_S, _HEADER_BOUND_S)
            seconds = max(0.1, min(seconds, bound) if options.deadline_s else bound)
        candidates = options.max_candidates or defaults.max_candidates
        return Budget(
            max_candidates=max(candidates, chat.n),
            max_rounds=defaults.max_rounds if options.max_rounds is None else options.max_rounds,
            deadline=time.time() + seconds,
            wanted=chat.n,
            repair=_switched(options.repair, defaults.repair),
            prefix_seeds=_switched(options.prefix_seeds, defaults.prefix_seeds),
            generated_tests=_switched(options.generated_tests, defaults.generated_tests),
            critic=_switched(options.critic, defaults.critic),
            memory=options.memory is not False,
        )

    def _nothing(self, status: str) -> ApiError:
        if status == "deadline":
            return ApiError(
                504,
                "deadline_exceeded",
                "the time was up before any program was complete; give burnish.deadline_s more seconds, "
                "or a client time-out that is longer, or stream",
            )
        return ApiError(500, "internal_error", "the refinement ended without any candidate")

    def _answer(self, trajectory: Trajectory, wanted: int) -> Answer:
        attempts, problem = trajectory.attempts, trajectory.problem
        order = ranked(attempts, {index: one.score for index, one in enumerate(attempts) if one.score is not None})
        chosen = distinct(attempts, order)
        chosen = [*chosen, *(index for index in order if index not in chosen)][:wanted]
        best = attempts[order[0]]
        return Answer(
            choices=tuple(
                Choice(
                    text=answer_text(attempts[index].candidate, problem),
                    finish_reason="length" if attempts[index].candidate.finish_reason == "length" else "stop",
                    prompt_tokens=attempts[index].candidate.prompt_tokens,
                    completion_tokens=attempts[index].candidate.completion_tokens,
                )
                for index in chosen
            ),
            verdict=claim(problem, best),
            tests=_tests(trajectory, best),
            candidates=len(attempts),
            rounds=trajectory.rounds,
            model_version=trajectory.model_version,
            totals=trajectory.totals,
            trajectory_id=trajectory.id,
            attempts=attempts,
        )

    def _count(self, answer: Answer, status: str) -> None:
        self.metrics.verdicts.labels(answer.verdict, answer.tests.source).inc()
        self.metrics.candidates.observe(answer.candidates)
        self.metrics.rounds.observe(answer.rounds)
        if status == "deadline":
            self.metrics.deadline_returns.inc()
        if answer.verdict == "passed":
            self.metrics.time_to_verified.observe(answer.totals.total_seconds)
        for attempt in answer.attempts:
            if attempt.verdict is not None:
                self.metrics.sandbox_runs.labels(attempt.verdict.outcome).inc()


def _ended(finished: Trajectory, status: str) -> Ending:
    """How a refinement ended, for the watch over versions."""
    verified: bool | None = None
    if finished.accepted is not None:
        said = claim(finished.problem, finished.attempts[finished.accepted])
        verified = None if said == "unverified" else said == "passed"
    return Ending(verified=verified, failed=status == "failed", seconds=finished.ended - finished.started)


def session_of(messages: Sequence[Message], tenant: str) -> Key:
    """The conversation: its turns are sent again each time, so that its first ones name it."""
    first = next((message["content"] for message in messages if message["role"] == "user"), "")
    return Key(tenant=tenant, scope="session", name=first)


def _tests(trajectory: Trajectory, best: Attempt) -> Tests:
    """The visible tests; where there are none, those the model wrote for the choice between programs."""
    problem, verdict = trajectory.problem, best.verdict
    if not problem.visible and trajectory.written:
        passed = best.score.written_passed if best.score is not None else 0
        return Tests(TestSource.GENERATED, passed, len(trajectory.written))
    total = len(problem.visible) if verdict is None else verdict.total
    return Tests(problem.visible_source, verdict.passed if verdict else 0, total)


def _switched(asked: bool | None, default: bool) -> bool:
    return default if asked is None else asked
