"""The refinement loop over scripted services."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from agent.budget import SAMPLES, UNTESTED_QUORUM
from agent.errors import EngineRefused, EngineUnavailable
from agent.graph import Request, Services, State, build_graph, initial_state
from agent.run import Run
from memory.records import CaseResult, Outcome, ProbeTest, Sampling, Test, TestSource, Verdict
from tests.fakes import ScriptedCritic, ScriptedPolicy, ScriptedSandbox, budget_of, passes_if, program

RIGHT = program("def add(a, b):\n    return a + b")
WRONG = program("def add(a, b):\n    return a - b")
ASK = "Write a Python function add(a, b).\n\nassert add(1, 1) == 2\n"


def request(ask: str = ASK, seconds: float = 20.0, **budget: Any) -> Request:
    return Request(
        id="traj_1",
        messages=({"role": "user", "content": ask},),
        sampling=Sampling(model="base", temperature=0.2, seed=7),
        budget=budget_of(deadline=time.time() + seconds, **budget),
    )


def services(
    policy: ScriptedPolicy, sandbox: ScriptedSandbox, run: Run, critic: ScriptedCritic | None = None
) -> Services:
    return Services(policy, sandbox, critic or ScriptedCritic({}), run)


async def refine(
    asked: Request, policy: ScriptedPolicy, sandbox: ScriptedSandbox, critic: ScriptedCritic | None = None
) -> tuple[State, Run, list[str]]:
    lines: list[str] = []
    run = Run(lines.append)
    state = await build_graph().ainvoke(
        initial_state(asked), context=services(policy, sandbox, run, critic), config={"recursion_limit": 1000}
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


def failing(count: int) -> list[str]:
    return [program(f"def add(a, b):\n    return a - b - {place}") for place in range(count)]


async def test_a_wide_call_stops_at_the_first_verified_program_and_aborts_the_rest() -> None:
    policy = ScriptedPolicy([WRONG, RIGHT, WRONG], delay_s=0.01)
    sandbox = ScriptedSandbox(passes_if(lambda code: "+" in code))
    state, _, _ = await refine(request(prefix_seeds=False), policy, sandbox)
    accepted = state["attempts"][state["accepted"] or 0]
    assert accepted.verdict is not None and accepted.verdict.outcome is Outcome.PASSED
    assert accepted.origin == "sample"
    assert len(policy.calls) == 2 and policy.closed == 1
    assert (policy.calls[1][2].temperature, policy.calls[1][2].min_p) == (0.8, 0.05)


async def test_later_samples_are_begun_as_code() -> None:
    policy = ScriptedPolicy(failing(40))
    await refine(request(repair=False, prefix_seeds=False), policy, ScriptedSandbox(passes_if(lambda code: False)))
    assert policy.prefixes == ["", *("```python\n" if row.start == "code" else "" for row in SAMPLES)]
    assert all(
        bool(asked.stop) == bool(begun) for (_, _, asked), begun in zip(policy.calls, policy.prefixes, strict=True)
    )
    plain = ScriptedPolicy(failing(40), continues=False)
    await refine(request(), plain, ScriptedSandbox(passes_if(lambda code: False)))
    assert set(plain.prefixes) == {""}, "not every engine goes on from a beginning"


async def test_repair_shows_the_concrete_failure() -> None:
    policy = ScriptedPolicy([WRONG, *failing(12), RIGHT])
    state, run, _ = await refine(request(), policy, ScriptedSandbox(passes_if(lambda code: "+" in code)))
    messages, _, _ = policy.calls[1 + len(SAMPLES)]
    assert messages[1]["role"] == "assistant" and "a - b" in messages[1]["content"]
    assert "Expected: 2" in messages[2]["content"] and "Got: 3" in messages[2]["content"]
    accepted = state["attempts"][state["accepted"] or 0]
    assert accepted.origin == "repair" and accepted.parent == 0 and accepted.round == 1
    assert run.rounds >= 1


async def test_the_critic_chooses_among_equal_failures() -> None:
    policy = ScriptedPolicy(failing(13))
    critic = ScriptedCritic({"- 2": 0.9})
    await refine(request(), policy, ScriptedSandbox(passes_if(lambda code: False)), critic)
    assert "a - b - 2" in policy.calls[1 + len(SAMPLES)][0][1]["content"]
    policy = ScriptedPolicy(failing(13))
    await refine(request(critic=False), policy, ScriptedSandbox(passes_if(lambda code: False)), critic)
    assert "a - b - 0" in policy.calls[1 + len(SAMPLES)][0][1]["content"], "the earliest, where nobody is asked"


async def test_refine_goes_on_from_the_beginning_of_what_passes() -> None:
    """One program passes, fewer than a safe choice needs; the critic thinks best of its first line."""
    passing = program("def add(a, b):\n    c = a\n    d = b\n    return c + d")
    policy = ScriptedPolicy([*failing(12), passing, *failing(9)])
    critic = ScriptedCritic({"c = a": 0.9, "d = b": 0.2})
    sandbox = ScriptedSandbox(passes_if(lambda code: "+" in code))
    state, run, _ = await refine(request(), policy, sandbox, critic)
    assert policy.prefixes[1 + len(SAMPLES)] == "```python\ndef add(a, b):\n    c = a\n"
    made = state["attempts"][-1]
    assert made.origin == "refine" and made.parent == 12 and run.rounds == 3
    assert state["accepted"] == 12
    without = ScriptedPolicy([*failing(12), passing, *failing(9)])
    await refine(request(prefix_seeds=False), without, sandbox, critic)
    assert len(without.calls) == 1 + len(SAMPLES), "one is enough where none is to be refined"


async def test_the_budget_bounds_candidates_and_rounds() -> None:
    policy = ScriptedPolicy([WRONG])
    state, run, _ = await refine(
        request(max_candidates=11, max_rounds=2), policy, ScriptedSandbox(passes_if(lambda c: False))
    )
    assert len(state["attempts"]) == 11 == sum(n for _, n, _ in policy.calls)
    assert run.rounds == 2
    assert state["accepted"] == 0, "the earliest of equals"


async def test_a_program_that_comes_again_is_not_run_again() -> None:
    sandbox = ScriptedSandbox(passes_if(lambda c: False))
    state, _, _ = await refine(request(repair=False), ScriptedPolicy([WRONG], delay_s=0.002), sandbox)
    assert len(state["attempts"]) == 16 and len(sandbox.runs) == 1
    assert all(attempt.verdict is not None for attempt in state["attempts"])


async def test_passing_programs_are_compared_by_their_answers() -> None:
    """Two of three programs that pass answer alike where the statement says nothing."""
    programs = [program(f"def add(a, b):\n    return a + b + {n} * (a > 1)") for n in (1, 0, 0)]
    programs[2] = program("def add(a, b):\n    return b + a + 0 * (a > 1)")

    def judge(code: str, tests: Sequence[Test]) -> Verdict:
        names: dict[str, Any] = {}
        exec(code, names)
        cases = [
            CaseResult(name="", outcome=Outcome.PASSED, actual=str(eval(test.call or "", names)))
            if isinstance(test, ProbeTest)
            else CaseResult(name="", outcome=Outcome.PASSED)
            for test in tests
        ]
        return Verdict(id="", outcome=Outcome.PASSED, passed=len(tests), total=len(tests), cases=tuple(cases))

    def failing_first(code: str, tests: Sequence[Test]) -> Verdict:
        return judge(code, tests) if "+" in code else passes_if(lambda c: False)(code, tests)

    state, run, lines = await refine(
        request(), ScriptedPolicy([WRONG, *programs], delay_s=0.01), ScriptedSandbox(failing_first), ScriptedCritic({})
    )
    assert len(run.scores) == 3 and state["accepted"] == 2, "the earlier of the two"
    assert run.scores[2].agreement == run.scores[3].agreement > run.scores[1].agreement  # type: ignore[operator]
    assert "3 different programs compared" in lines
    state, run, _ = await refine(
        request(generated_tests=False), ScriptedPolicy([WRONG, *programs]), ScriptedSandbox(failing_first)
    )
    assert state["accepted"] == 1 and not run.scores


async def test_without_tests_the_model_writes_some_and_programs_are_compared() -> None:
    ask, answer = "Write a Python function add(a, b).", "```python\nassert add(1, 1) == 2\nassert add(1) == 3\n```"
    policy = ScriptedPolicy([RIGHT, answer, RIGHT], delay_s=0.01)
    sandbox = ScriptedSandbox(passes_if(lambda code: True))
    state, run, _ = await refine(request(ask), policy, sandbox)
    assert len(state["attempts"]) == UNTESTED_QUORUM
    assert [test.call for test in run.written] == ["add(1, 1)", "add(1)"]
    assert run.problem is not None and run.problem.visible_source is TestSource.NONE
    single = ScriptedPolicy([RIGHT])
    state, _, _ = await refine(request(ask, generated_tests=False), single, sandbox)
    assert len(state["attempts"]) == 1, "a program that loads is all that can be had"


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
    policy = ScriptedPolicy(failing(9), delay_s=0.05)
    sandbox = ScriptedSandbox(passes_if(lambda code: False), delay_s=0.2)
    run, before = Run(), asyncio.all_tasks()
    task = asyncio.create_task(build_graph().ainvoke(initial_state(request()), context=services(policy, sandbox, run)))
    while not 0 < len(run.attempts) < len(sandbox.runs):  # noqa: ASYNC110 (a run tells nobody)
        await asyncio.sleep(0.01)
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
    assert set(sandbox.preludes) == {"from typing import List\n"}


async def test_the_checkpoint_shows_the_request_afterwards(tmp_path: Path) -> None:
    policy, sandbox = ScriptedPolicy([WRONG, RIGHT]), ScriptedSandbox(passes_if(lambda code: "+" in code))
    config: Any = {"configurable": {"thread_id": "traj_1"}}
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "checkpoints.sqlite")) as saver:
        graph = build_graph(saver)
        await graph.ainvoke(initial_state(request()), config=config, context=services(policy, sandbox, Run()))
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "checkpoints.sqlite")) as saver:
        kept = await build_graph(saver).aget_state(config)
    assert [attempt.candidate.code for attempt in kept.values["attempts"]][-1].endswith("a + b\n")
    assert kept.values["request"].sampling.seed == 7
