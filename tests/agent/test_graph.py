"""The refinement loop over scripted services."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from agent.budget import Budget
from agent.errors import EngineRefused, EngineUnavailable
from agent.graph import Request, Services, State, build_graph, initial_state
from agent.run import Run
from memory.records import Outcome, Sampling, TestSource
from tests.fakes import ScriptedPolicy, ScriptedSandbox, passes_if, program

RIGHT = program("def add(a, b):\n    return a + b")
WRONG = program("def add(a, b):\n    return a - b")
ASK = "Write a Python function add(a, b).\n\nassert add(1, 1) == 2\n"


def request(ask: str = ASK, seconds: float = 20.0, **budget: Any) -> Request:
    return Request(
        id="traj_1",
        messages=({"role": "user", "content": ask},),
        sampling=Sampling(model="base", temperature=0.2, seed=7),
        budget=Budget(deadline=time.time() + seconds, **budget),
    )


async def refine(asked: Request, policy: ScriptedPolicy, sandbox: ScriptedSandbox) -> tuple[State, Run, list[str]]:
    lines: list[str] = []
    run = Run(lines.append)
    state = await build_graph().ainvoke(
        initial_state(asked), context=Services(policy, sandbox, run), config={"recursion_limit": 1000}
    )
    return state, run, lines  # type: ignore[return-value]


async def test_a_right_first_answer_costs_one_candidate() -> None:
    policy, sandbox = ScriptedPolicy([RIGHT]), ScriptedSandbox(passes_if(lambda code: "+" in code))
    state, run, lines = await refine(request(), policy, sandbox)
    assert state["accepted"] == 0
    assert [n for _, n, _ in policy.calls] == [1]
    assert policy.calls[0][2].temperature == 0.2, "the first candidate uses the client's settings"
    assert run.problem is not None and run.problem.visible_source is TestSource.PROMPT
    assert any("1 of 1 tests pass" in line for line in lines)
    assert state["ending"] == "finished"


async def test_a_wide_call_stops_at_the_first_verified_program_and_aborts_the_rest() -> None:
    policy = ScriptedPolicy([WRONG, WRONG, RIGHT, WRONG], delay_s=0.01)
    sandbox = ScriptedSandbox(passes_if(lambda code: "+" in code))
    state, _, _ = await refine(request(), policy, sandbox)
    accepted = state["attempts"][state["accepted"] or 0]
    assert accepted.verdict is not None and accepted.verdict.outcome is Outcome.PASSED
    assert accepted.origin == "sample"
    assert len(policy.calls) == 2 and policy.closed == 1
    assert (policy.calls[1][2].temperature, policy.calls[1][2].min_p) == (0.8, 0.05)


async def test_repair_shows_the_concrete_failure() -> None:
    policy = ScriptedPolicy([WRONG] * 13 + [RIGHT])
    state, run, _ = await refine(request(), policy, ScriptedSandbox(passes_if(lambda code: "+" in code)))
    messages, _, _ = policy.calls[2]
    assert messages[1]["role"] == "assistant" and "a - b" in messages[1]["content"]
    assert "Expected: 2" in messages[2]["content"] and "Got: 3" in messages[2]["content"]
    accepted = state["attempts"][state["accepted"] or 0]
    assert accepted.origin == "repair" and accepted.parent == 0 and accepted.round == 1
    assert run.rounds == 1


async def test_the_budget_bounds_candidates_and_rounds() -> None:
    policy = ScriptedPolicy([WRONG])
    state, run, _ = await refine(
        request(max_candidates=9, max_rounds=2), policy, ScriptedSandbox(passes_if(lambda c: False))
    )
    assert len(state["attempts"]) == 9 == sum(n for _, n, _ in policy.calls)
    assert run.rounds == 2
    assert state["accepted"] == 0, "the earliest of equals"


async def test_repair_switched_off_samples_everything_at_once() -> None:
    policy = ScriptedPolicy([WRONG])
    await refine(request(max_candidates=8, repair=False), policy, ScriptedSandbox(passes_if(lambda c: False)))
    assert [n for _, n, _ in policy.calls] == [1, 7]


async def test_without_tests_a_program_that_loads_is_enough() -> None:
    policy, sandbox = ScriptedPolicy([RIGHT]), ScriptedSandbox(passes_if(lambda code: True))
    state, run, _ = await refine(request("Write a Python function add(a, b)."), policy, sandbox)
    assert len(state["attempts"]) == 1
    assert run.problem is not None and run.problem.visible_source is TestSource.NONE


async def test_the_deadline_returns_the_best_so_far() -> None:
    policy = ScriptedPolicy([WRONG], delay_s=0.12)
    sandbox = ScriptedSandbox(passes_if(lambda code: False))
    started = time.monotonic()
    state, _, _ = await refine(request(seconds=0.5), policy, sandbox)
    assert time.monotonic() - started < 2
    assert state["ending"] == "deadline"
    assert 1 <= len(state["attempts"]) < 16 and state["accepted"] is not None


async def test_a_program_still_running_at_the_deadline_is_kept_without_a_verdict() -> None:
    policy, sandbox = ScriptedPolicy([RIGHT]), ScriptedSandbox(passes_if(lambda code: True), delay_s=30)
    state, _, _ = await refine(request(seconds=0.3), policy, sandbox)
    assert [attempt.verdict for attempt in state["attempts"]] == [None]
    assert sandbox.cancelled == 1


async def test_an_engine_that_fails_is_asked_again() -> None:
    policy = ScriptedPolicy([EngineUnavailable("gone"), RIGHT])
    state, _, lines = await refine(request(), policy, ScriptedSandbox(passes_if(lambda code: True)))
    assert state["accepted"] == 0
    assert any("asking again" in line for line in lines)


async def test_an_engine_that_never_answers_is_an_error_when_there_is_nothing_to_return() -> None:
    policy = ScriptedPolicy([EngineUnavailable("gone")])
    with pytest.raises(EngineUnavailable):
        await refine(request(seconds=0.8), policy, ScriptedSandbox(passes_if(lambda code: True)))


async def test_an_engine_that_fails_late_costs_nothing_already_made() -> None:
    policy = ScriptedPolicy([WRONG, WRONG, EngineUnavailable("gone")])
    state, _, _ = await refine(request(seconds=0.8), policy, ScriptedSandbox(passes_if(lambda code: False)))
    assert len(state["attempts"]) == 2


async def test_a_prompt_the_engine_refuses_ends_the_search_with_what_there_is() -> None:
    policy = ScriptedPolicy([WRONG, EngineRefused(400, "too long")])
    state, _, _ = await refine(request(), policy, ScriptedSandbox(passes_if(lambda code: False)))
    assert len(state["attempts"]) == 1 and state["accepted"] == 0
    with pytest.raises(EngineRefused):
        await refine(request(), ScriptedPolicy([EngineRefused(400, "no")]), ScriptedSandbox(passes_if(lambda c: False)))


async def test_cancelling_closes_the_engine_call_and_the_sandbox_and_keeps_what_was_made() -> None:
    policy, sandbox = ScriptedPolicy([WRONG], delay_s=0.05), ScriptedSandbox(passes_if(lambda code: False), delay_s=0.2)
    run, before = Run(), asyncio.all_tasks()
    task = asyncio.create_task(build_graph().ainvoke(initial_state(request()), context=Services(policy, sandbox, run)))
    await asyncio.sleep(0.45)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert policy.closed == 1 and sandbox.cancelled > 0
    assert run.attempts and run.attempts[0].verdict is not None
    assert asyncio.all_tasks() <= before, "no task outlives the request"


async def test_several_distinct_programs_on_request() -> None:
    other = program("def add(a, b):\n    return b + a")
    policy = ScriptedPolicy([RIGHT, RIGHT, other])
    state, _, _ = await refine(request(wanted=2), policy, ScriptedSandbox(passes_if(lambda code: "+" in code)))
    solved = {a.candidate.code for a in state["attempts"]}
    assert len(solved) == 2


async def test_missing_imports_of_the_statement_are_put_before_the_program() -> None:
    ask = "Complete:\n```python\nfrom typing import List\n\ndef f(x: List[int]) -> int:\n    '''Sum.'''\n```"
    policy = ScriptedPolicy([program("def f(x: List[int]) -> int:\n    return sum(x)")])
    sandbox = ScriptedSandbox(passes_if(lambda code: True))
    await refine(request(ask), policy, sandbox)
    assert sandbox.preludes == ["from typing import List\n"]


async def test_the_checkpoint_shows_the_request_afterwards(tmp_path: Path) -> None:
    policy, sandbox = ScriptedPolicy([WRONG, RIGHT]), ScriptedSandbox(passes_if(lambda code: "+" in code))
    config: Any = {"configurable": {"thread_id": "traj_1"}}
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "checkpoints.sqlite")) as saver:
        graph = build_graph(saver)
        await graph.ainvoke(initial_state(request()), config=config, context=Services(policy, sandbox, Run()))
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "checkpoints.sqlite")) as saver:
        kept = await build_graph(saver).aget_state(config)
    assert [attempt.candidate.code for attempt in kept.values["attempts"]][-1].endswith("a + b\n")
    assert kept.values["request"].sampling.seed == 7
