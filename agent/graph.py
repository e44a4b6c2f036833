"""The refinement loop as a LangGraph: read → sample ⇄ repair → finish. `route` is the one decision, read it first.

State is typed and checkpointed after each node; the services (engine, sandbox) and the run's record travel in the
context, outside the checkpoint.
"""

from __future__ import annotations

import asyncio
import operator
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Annotated, Literal, TypedDict

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime

from agent import prompts
from agent.budget import MIN_P, Budget, Step, next_step
from agent.errors import AgentError, EngineRefused, EngineUnavailable
from agent.feedback import progress
from agent.policy import Policy
from agent.prelude import needed
from agent.run import Run
from agent.sandbox.contract import Sandbox
from agent.select import enough, ranked
from agent.task import Message, read_problem
from memory.records import Attempt, Candidate, Fault, Outcome, Problem, Sampling, Test, Verdict

_ENGINE_BACKOFF_S = (0.5, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the client asked for."""

    id: str
    messages: tuple[Message, ...]
    sampling: Sampling
    """The client's own sampling settings, used for the first candidate."""
    budget: Budget
    tests: tuple[Test, ...] = ()
    entry_point: str | None = None
    context_length: int | None = None
    """Longest prompt plus completion that the engine takes, in tokens."""


@dataclass(frozen=True, slots=True)
class Services:
    """What the nodes work with; not part of the state."""

    policy: Policy
    sandbox: Sandbox
    run: Run


class State(TypedDict):
    """What is known after each node."""

    request: Request
    problem: Problem | None
    attempts: Annotated[list[Attempt], operator.add]
    rounds: int
    """Repair rounds made."""
    stalled: bool
    """The last step brought nothing new, so another would not either."""
    accepted: int | None
    ending: Literal["finished", "deadline"] | None


Graph = CompiledStateGraph[State, Services, State, State]


def build_graph(checkpointer: BaseCheckpointSaver[str] | None = None) -> Graph:
    """Wire the nodes."""
    graph = StateGraph(State, context_schema=Services)
    graph.add_node("read", read)
    graph.add_node("sample", sample)
    graph.add_node("repair", repair)
    graph.add_node("finish", finish)
    graph.add_edge(START, "read")
    for node in ("read", "sample", "repair"):
        graph.add_conditional_edges(node, route, ["sample", "repair", "finish"])
    graph.add_edge("finish", END)
    return graph.compile(checkpointer=checkpointer)


def initial_state(request: Request) -> State:
    """The state a refinement starts from."""
    return State(request=request, problem=None, attempts=[], rounds=0, stalled=False, accepted=None, ending=None)


def route(state: State) -> Literal["sample", "repair", "finish"]:
    """Finish when an attempt is verified or the budget is spent; repair when the schedule says so; else sample."""
    attempts, budget = state["attempts"], state["request"].budget
    if enough(attempts, budget.wanted) or state["stalled"] or time.time() >= budget.deadline:
        return "finish"
    step = next_step(budget, len(attempts), state["rounds"])
    if step is None:
        return "finish"
    return "repair" if step.kind == "repair" else "sample"


async def read(state: State, runtime: Runtime[Services]) -> dict[str, object]:
    """The chat becomes a problem with visible tests."""
    request = state["request"]
    problem = read_problem(request.id, request.messages, request.tests, request.entry_point)
    run = runtime.context.run
    run.problem = problem
    run.tell(f"{len(problem.visible)} tests from the {problem.visible_source}" if problem.visible else "no tests found")
    return {"problem": problem}


async def sample(state: State, runtime: Runtime[Services]) -> dict[str, object]:
    """Fresh candidates: first one as the client asked, then a wide call."""
    step = _step(state)
    messages = prompts.first(state["request"].messages)
    made = await _attempts(state, runtime.context, step, messages, parent=None)
    return {"attempts": made, "stalled": not made}


async def repair(state: State, runtime: Runtime[Services]) -> dict[str, object]:
    """New candidates from the concrete failure of the best program so far that was not repaired yet."""
    services, step, rounds = runtime.context, _step(state), state["rounds"] + 1
    services.run.rounds = rounds
    request, attempts = state["request"], state["attempts"]
    parent = _parent(attempts)
    messages = prompts.first(request.messages)
    if parent is not None:
        verdict = attempts[parent].verdict
        if verdict is not None:
            messages = prompts.repair(request.messages, attempts[parent], verdict)
        if not await _fits(messages, request, services):
            messages, parent = prompts.first(request.messages), None
    services.run.tell(f"repair round {rounds}" + (f": from candidate {parent + 1}" if parent is not None else ""))
    made = await _attempts(state, services, step, messages, parent=parent)
    return {"attempts": made, "rounds": rounds, "stalled": not made}


async def finish(state: State, runtime: Runtime[Services]) -> dict[str, object]:
    """Choose the answer."""
    order = ranked(state["attempts"])
    late = time.time() >= state["request"].budget.deadline
    return {"accepted": order[0] if order else None, "ending": "deadline" if late else "finished"}


def _step(state: State) -> Step:
    step = next_step(state["request"].budget, len(state["attempts"]), state["rounds"])
    assert step is not None, "route sends here only while the budget lasts"
    return step


def _parent(attempts: Sequence[Attempt]) -> int | None:
    """The best failing attempt that no repair started from yet; sandbox errors say nothing about a program."""
    used = {attempt.parent for attempt in attempts}
    for index in ranked(attempts):
        verdict = attempts[index].verdict
        if index not in used and verdict is not None and verdict.outcome is not Outcome.SANDBOX_ERROR:
            return index
    return None


async def _fits(messages: Sequence[Message], request: Request, services: Services) -> bool:
    """Whether the prompt leaves room for an answer as long as the client allows (at least 256 tokens)."""
    if request.context_length is None:
        return True
    with services.run.busy("engine"):
        length = await services.policy.count_tokens(messages, request.sampling.model)
    return length is None or length + (request.sampling.max_tokens or 256) <= request.context_length


async def _attempts(
    state: State, services: Services, step: Step, messages: Sequence[Message], parent: int | None
) -> list[Attempt]:
    """Sample one step's candidates and execute each as soon as it is complete, until one is verified or time is up.

    An engine that fails is asked again, with growing pauses, as long as the deadline allows. Its failures are raised
    only while there is nothing to return.
    """
    request, run = state["request"], services.run
    made: list[Attempt] = []
    failures = 0
    while True:
        wanted = replace(step, candidates=step.candidates - len(made))
        try:
            async with asyncio.timeout(request.budget.deadline - time.time()):
                await _one_call(state, services, wanted, messages, parent, made)
            return made
        except TimeoutError:
            return made
        except EngineRefused:
            if run.attempts:
                return made
            raise
        except EngineUnavailable as error:
            if len(made) == step.candidates or enough(run.attempts, request.budget.wanted):
                return made
            pause = _ENGINE_BACKOFF_S[min(failures, len(_ENGINE_BACKOFF_S) - 1)]
            failures += 1
            if time.time() + pause >= request.budget.deadline:
                if run.attempts:
                    return made
                raise
            run.tell(f"engine unavailable, asking again in {pause:g} s ({error})")
            await asyncio.sleep(pause)


async def _one_call(
    state: State,
    services: Services,
    step: Step,
    messages: Sequence[Message],
    parent: int | None,
    made: list[Attempt],
) -> None:
    """One call of the policy; attempts are appended to `made` and to the run as they complete, also when cancelled."""
    request, problem, run = state["request"], state["problem"], services.run
    assert problem is not None, "`read` comes first"
    sampling = _sampling(request, step, len(run.attempts))
    verified = asyncio.Event()

    async def execute(candidate: Candidate) -> None:
        verdict: Verdict | None = None
        try:
            verdict = await _execute(services, problem, candidate)
        finally:
            attempt = Attempt(
                candidate=candidate,
                verdict=verdict,
                origin="repair" if parent is not None else ("first" if step.kind == "first" else "sample"),
                round=run.rounds,
                parent=parent,
            )
            made.append(attempt)
            run.attempts.append(attempt)
        run.tell(progress(len(run.attempts), request.budget.max_candidates, candidate, verdict))
        if enough(run.attempts, request.budget.wanted):
            verified.set()

    async def generate() -> None:
        failure: EngineUnavailable | None = None
        try:
            async with asyncio.TaskGroup() as executions:
                try:
                    async with aclosing(_candidates(services, messages, step, sampling, problem)) as candidates:
                        async for candidate in candidates:
                            executions.create_task(execute(candidate))
                except EngineUnavailable as error:
                    failure = error
        except* AgentError as errors:
            raise errors.exceptions[0] from None
        if failure is not None:
            raise failure

    generating, solved = asyncio.create_task(generate()), asyncio.create_task(verified.wait())
    try:
        await asyncio.wait({generating, solved}, return_when=asyncio.FIRST_COMPLETED)
        if generating.done():
            generating.result()
    finally:
        generating.cancel()
        solved.cancel()
        await asyncio.gather(generating, solved, return_exceptions=True)


async def _candidates(
    services: Services, messages: Sequence[Message], step: Step, sampling: Sampling, problem: Problem
) -> AsyncGenerator[Candidate]:
    """The policy's candidates, with the engine's time counted."""
    with services.run.busy("engine"):
        stream = services.policy.sample(
            messages, step.candidates, sampling, entry_point=problem.entry_point, spend=services.run.spend
        )
        async with aclosing(stream):
            async for candidate in stream:
                yield candidate


async def _execute(services: Services, problem: Problem, candidate: Candidate) -> Verdict:
    if not candidate.code:
        total = len(problem.visible)
        fault = Fault(type="no_code", message="the answer contains no program")
        return Verdict(id="", outcome=Outcome.COMPILE_ERROR, passed=0, total=total, error=fault)
    with services.run.busy("sandbox"):
        return await services.sandbox.run(
            candidate.code,
            problem.visible,
            entry_point=problem.entry_point,
            prelude=needed(problem.prelude, candidate.code),
            limits=problem.limits,
            owner=f"refine {id(services.run)}",
        )


def _sampling(request: Request, step: Step, made: int) -> Sampling:
    """The client's settings for the first candidate, ours for the others; seeds differ from call to call."""
    own = request.sampling
    seed = None if own.seed is None else own.seed + made
    if step.temperature is None:
        return replace(own, seed=seed)
    return replace(own, temperature=step.temperature, top_p=1.0, min_p=MIN_P, seed=seed)
