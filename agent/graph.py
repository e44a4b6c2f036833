"""The refinement loop as a LangGraph: read → recall → sample ⇄ refine or repair → compare → finish. `route` is the one
decision, read it first.

State is typed and checkpointed after each node; the services (engine, sandbox, critic, memory) and the run's record
travel in the context, outside the checkpoint.
"""

from __future__ import annotations

import operator
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal, TypedDict

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime

from agent import prompts
from agent.budget import WRITING, Budget, Origin, Step, next_step
from agent.comparison import compare as compared
from agent.comparison import groups
from agent.critic import Critic, Written, by_rule
from agent.errors import BadTests, EngineError, EngineUnavailable
from agent.experience.recall import Recall
from agent.experience.reminder import reminder
from agent.experience.reuse import reused
from agent.policy import Policy
from agent.prompts import Prompt
from agent.run import Run
from agent.sampling import Call, Sampler, sampling_of
from agent.sandbox.contract import Sandbox
from agent.seeds import beginnings, seed
from agent.select import enough, ranked, repairable, solved
from agent.stub import called
from agent.task import Message, read_problem
from agent.testgen import MAX_TESTS, read_written
from memory.experience import Recalled
from memory.recent import Entry
from memory.records import Attempt, Experience, Opinion, Problem, Sampling, Test

Node = Literal["sample", "write", "refine", "repair", "compare", "finish"]
_MAX_SEEDED = 2
"""Passing programs that one refine round continues."""
_PARENTS = 3
"""Failing programs among which the critic chooses the one to repair."""


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
    critic: Critic
    run: Run
    recall: Recall | None = None
    """None: nothing is remembered."""
    recent: tuple[Entry, ...] = ()
    """What was said of programs earlier in this conversation."""


class State(TypedDict):
    """What is known after each node."""

    request: Request
    problem: Problem | None
    recalled: tuple[Recalled, ...]
    """Similar solved tasks, best first."""
    attempts: Annotated[list[Attempt], operator.add]
    steps: int
    """Calls for programs so far."""
    rounds: int
    """Refine and repair rounds among them."""
    stalled: bool
    """The last step brought nothing new, so another would not either."""
    wrote: bool
    """The model was asked for tests."""
    accepted: int | None
    ending: Literal["finished", "deadline"] | None


@dataclass(frozen=True, slots=True)
class _Asked:
    """One call for programs."""

    prompt: Prompt
    candidates: int
    parent: int | None = None
    """The attempt it starts from."""
    shown: tuple[Experience, ...] = ()
    """What of memory stands in the prompt."""


Graph = CompiledStateGraph[State, Services, State, State]


def build_graph(checkpointer: BaseCheckpointSaver[str] | None = None) -> Graph:
    """Wire the nodes."""
    graph = StateGraph(State, context_schema=Services)
    decided: list[Node] = ["sample", "write", "refine", "repair", "compare", "finish"]
    graph.add_node("read", read)
    graph.add_edge("read", "recall")
    for node in (recall, sample, write, refine, repair):
        graph.add_node(node.__name__, node)
        graph.add_conditional_edges(node.__name__, route, [*decided])
    graph.add_node("compare", compare)
    graph.add_node("finish", finish)
    graph.add_edge(START, "read")
    graph.add_edge("compare", "finish")
    graph.add_edge("finish", END)
    return graph.compile(checkpointer=checkpointer)


def initial_state(request: Request) -> State:
    """The state a refinement starts from."""
    return State(
        request=request,
        problem=None,
        recalled=(),
        attempts=[],
        steps=0,
        rounds=0,
        stalled=False,
        wrote=False,
        accepted=None,
        ending=None,
    )


def route(state: State) -> Node:
    """Choose once there is enough or the budget is spent, by comparing where several programs pass; else go on
    sampling, and then refine what passes or repair what fails."""
    attempts, problem, budget = state["attempts"], _problem(state), state["request"].budget
    if time.time() >= budget.deadline:
        return "finish"
    step = next_step(budget, _sampled(attempts), state["steps"], state["rounds"])
    passed = solved(attempts)
    choose: Node = "compare" if budget.generated_tests and len(passed) > 1 else "finish"
    if state["stalled"] or step is None or enough(attempts, problem, budget):
        return choose
    if step[0].kind != "round":
        untested = bool(attempts) and not problem.visible and problem.entry_point is not None
        return "write" if untested and budget.generated_tests and not state["wrote"] else "sample"
    if passed:
        return "refine" if budget.prefix_seeds else "sample"
    return "repair" if budget.repair else "sample"


async def read(state: State, runtime: Runtime[Services]) -> dict[str, object]:
    """The chat becomes a problem with visible tests."""
    request = state["request"]
    problem = read_problem(request.id, request.messages, request.tests, request.entry_point)
    run = runtime.context.run
    run.problem = problem
    run.tell(f"{len(problem.visible)} tests from the {problem.visible_source}" if problem.visible else "no tests found")
    return {"problem": problem}


async def recall(state: State, runtime: Runtime[Services]) -> dict[str, object]:
    """Similar tasks that were solved before; a program among them that passes this task's tests is an answer."""
    services, request, problem = runtime.context, state["request"], _problem(state)
    run = services.run
    if services.recall is None or not request.budget.memory:
        return {}
    with run.busy("memory"):
        recalled = await services.recall.solutions(problem)
    if not recalled:
        return {}
    run.tell(f"{len(recalled)} similar tasks remembered, the nearest at {recalled[0].similarity:.2f}")
    floor = services.recall.settings.reuse
    run.attempts += await reused(recalled, floor, problem, request.messages, services.sandbox, run)
    return {"recalled": recalled, "attempts": list(run.attempts)}


async def sample(state: State, runtime: Runtime[Services]) -> dict[str, object]:
    """Fresh candidates: first one as the client asked, then wide calls."""
    request, services = state["request"], runtime.context
    step, count = _step(state)
    begun = step.start == "code" and services.policy.continues
    prompt = prompts.begun(request.messages, _problem(state)) if begun else prompts.first(request.messages)
    shown: tuple[Experience, ...] = ()
    if step.recalls and services.recall is not None:
        shown = services.recall.fitting(state["recalled"])
        prompt = prompts.reminded(prompt, shown)
        if shown and not await _fits(prompt.messages, request, services):
            prompt, shown = prompts.first(request.messages), ()
    asked = _Asked(prompt, count, shown=shown)
    if step.kind == "round":
        return await _round(state, services, step, [asked], "sample")
    return await _made(state, services, step, [asked], "first" if step.kind == "first" else "sample")


async def write(state: State, runtime: Runtime[Services]) -> dict[str, object]:
    """Tests by the model itself, where the statement gives none."""
    request, services, problem = state["request"], runtime.context, _problem(state)
    assert problem.entry_point is not None, "`route` asks only for what has a name"
    name = called(problem.statement, problem.entry_point)
    messages = prompts.tests(request.messages, name, MAX_TESTS)
    try:
        with services.run.busy("engine"):
            async for answer in services.policy.sample(
                messages, 1, sampling_of(request.sampling, WRITING, 0), services.run
            ):
                services.run.written = read_written(answer.text, name)
    except EngineError as error:
        services.run.tell(f"no tests were written: {error}")
    services.run.tell(f"{len(services.run.written)} tests written by the model")
    return {"wrote": True}


async def refine(state: State, runtime: Runtime[Services]) -> dict[str, object]:
    """New candidates from the beginnings of passing programs (CodeRL: critical sampling, refine)."""
    services, request = runtime.context, state["request"]
    step, count = _step(state)
    parents = groups(state["attempts"], solved(state["attempts"]))[:_MAX_SEEDED]
    calls: list[_Asked] = []
    for place, parent in enumerate(parents):
        share = count // len(parents) + (place < count % len(parents))
        begun = beginnings(parent.code) if services.policy.continues else []
        text = seed(begun, await _opinions(services, request, [Written(code) for code in begun]))
        prompt = prompts.begun(request.messages, _problem(state)) if text is None else None
        if share:
            calls.append(_Asked(prompt or prompts.continued(request.messages, text or ""), share, parent.attempts[0]))
    return await _round(state, services, step, calls, "refine")


async def repair(state: State, runtime: Runtime[Services]) -> dict[str, object]:
    """New candidates from the concrete failure of a program that was not repaired yet (CodeRL: repair)."""
    services, request, attempts = runtime.context, state["request"], state["attempts"]
    step, count = _step(state)
    parent = await _parent(services, request, attempts)
    prompt = prompts.first(request.messages)
    verdict = None if parent is None else attempts[parent].verdict
    lessons: tuple[Experience, ...] = ()
    if parent is not None and verdict is not None:
        lessons = await _lessons(services, request, attempts[parent])
        seen = reminder(services.recent) if request.budget.memory else ""
        prompt = prompts.repair(request.messages, attempts[parent], verdict, lessons, seen)
        if not await _fits(prompt.messages, request, services):
            prompt, parent, lessons = prompts.first(request.messages), None, ()
    if not services.policy.continues:
        prompt = Prompt(prompt.messages)
    return await _round(state, services, step, [_Asked(prompt, count, parent, lessons)], "repair")


async def compare(state: State, runtime: Runtime[Services]) -> dict[str, object]:
    """Answers of the passing programs to inputs that the statement does not show."""
    services, problem, attempts = runtime.context, _problem(state), state["attempts"]
    run = services.run
    programs = groups(attempts, solved(attempts))
    try:
        with run.busy("sandbox"):
            scores = await compared(services.sandbox, problem, programs, run.written, run.owner)
    except BadTests:
        return {}
    if state["request"].budget.critic and len(programs) > 1:
        written = [Written.of(attempts[program.attempts[0]].candidate) for program in programs]
        opinions = await _opinions(services, state["request"], written)
        scores = [replace(score, critic=opinion) for score, opinion in zip(scores, opinions, strict=True)]
    for program, score in zip(programs, scores, strict=True):
        run.scores |= dict.fromkeys(program.attempts, score)
    run.tell(f"{len(programs)} different programs compared")
    return {}


async def finish(state: State, runtime: Runtime[Services]) -> dict[str, object]:
    """Choose the answer."""
    order = ranked(state["attempts"], runtime.context.run.scores)
    late = time.time() >= state["request"].budget.deadline
    return {"accepted": order[0] if order else None, "ending": "deadline" if late else "finished"}


async def _round(
    state: State,
    services: Services,
    step: Step,
    calls: Sequence[_Asked],
    origin: Origin,
) -> dict[str, object]:
    rounds = state["rounds"] + 1
    services.run.rounds = rounds
    parents = ", ".join(str(call.parent + 1) for call in calls if call.parent is not None)
    services.run.tell(f"{origin} round {rounds}" + (f": from candidate {parents}" if parents else ""))
    return {**await _made(state, services, step, calls, origin), "rounds": rounds}


async def _made(
    state: State,
    services: Services,
    step: Step,
    calls: Sequence[_Asked],
    origin: Origin,
) -> dict[str, object]:
    """The state after some calls for programs."""
    request, problem, run = state["request"], _problem(state), services.run
    sampler = Sampler(services.policy, services.sandbox, run, problem, request.budget.deadline)
    before = len(run.attempts)

    def are_enough(attempts: Sequence[Attempt]) -> bool:
        return enough(attempts, problem, request.budget)

    for asked in calls:
        if before < len(run.attempts) and are_enough(run.attempts):
            break
        call = Call(
            prompt=asked.prompt,
            candidates=asked.candidates,
            sampling=sampling_of(request.sampling, step, _sampled(run.attempts)),
            origin=origin,
            parent=asked.parent,
            shown=tuple(experience.id for experience in asked.shown),
        )
        await sampler.attempts(call, are_enough, request.budget.max_candidates)
    made = run.attempts[before:]
    return {"attempts": made, "steps": state["steps"] + 1, "stalled": not made}


def _problem(state: State) -> Problem:
    problem = state["problem"]
    assert problem is not None, "`read` comes first"
    return problem


def _sampled(attempts: Sequence[Attempt]) -> int:
    """How many of them the model made for this request."""
    return sum(attempt.origin != "recalled" for attempt in attempts)


def _step(state: State) -> tuple[Step, int]:
    step = next_step(state["request"].budget, _sampled(state["attempts"]), state["steps"], state["rounds"])
    assert step is not None, "`route` sends here only while the budget lasts"
    return step


async def _parent(services: Services, request: Request, attempts: Sequence[Attempt]) -> int | None:
    """The failing attempt to repair: of those that pass most tests the critic's choice."""
    best = repairable(attempts)[:_PARENTS]
    if len(best) < 2 or not request.budget.critic:
        return best[0] if best else None
    opinions = await _opinions(services, request, [Written.of(attempts[index].candidate) for index in best])
    return max(zip(best, opinions, strict=True), key=lambda pair: (pair[1].passed, -pair[0]))[0]


async def _lessons(services: Services, request: Request, attempt: Attempt) -> tuple[Experience, ...]:
    """How failures like this one were overcome before."""
    if services.recall is None or not request.budget.memory:
        return ()
    with services.run.busy("memory"):
        return services.recall.fitting(await services.recall.lessons(attempt))


async def _opinions(services: Services, request: Request, programs: Sequence[Written]) -> list[Opinion]:
    """The critic's, or the rule's where the critic is off or silent."""
    if request.budget.critic and programs:
        try:
            with services.run.busy("critic"):
                return await services.critic.judge(request.messages, programs, services.run)
        except EngineUnavailable as error:
            services.run.tell(f"the critic is silent: {error}")
    return [by_rule(program.code) for program in programs]


async def _fits(messages: Sequence[Message], request: Request, services: Services) -> bool:
    """Whether the prompt leaves room for an answer as long as the client allows (at least 256 tokens)."""
    if request.context_length is None:
        return True
    with services.run.busy("engine"):
        length = await services.policy.count_tokens(messages, request.sampling.model)
    return length is None or length + (request.sampling.max_tokens or 256) <= request.context_length
