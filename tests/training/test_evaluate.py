"""Versions measured on problems with hidden tests: what is asked, what is kept, what is paired."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from agent.critic import VerdictTokenCritic
from agent.errors import EngineRefused, EngineUnavailable
from agent.evaluation import (
    Answers,
    Question,
    evaluate,
    gate_report,
    mean_pass_at_k,
    pass_at_k,
    ranking,
    solved,
)
from agent.policy import Meter
from agent.task import Message
from memory.records import AssertTest, Candidate, Outcome, Problem, Sampling, Test, Verdict
from tests.fakes import ScriptedPolicy, ScriptedSandbox, candidate, passes_if, program
from training.evaluate import compare, measure


def problems(count: int) -> list[Problem]:
    return [
        Problem(
            id=f"p{number}",
            statement=f"Write f{number}.",
            entry_point=f"f{number}",
            hidden=(AssertTest(source=f"assert f{number}() == {number}"),),
        )
        for number in range(count)
    ]


@dataclass
class Knowing:
    """A policy whose versions know the answers to some problems."""

    knows: dict[str, set[int]]
    asked: list[tuple[str, str, Sampling]] = field(default_factory=list)
    continues: bool = True
    opinion: tuple[float, ...] | None = None

    async def sample(
        self,
        messages: Sequence[Message],
        n: int,
        sampling: Sampling,
        meter: Meter,
        *,
        prefix: str = "",
        entry_point: str | None = None,
    ) -> AsyncGenerator[Candidate]:
        number = int(messages[-1]["content"].removeprefix("Write f").removesuffix("."))
        self.asked.append((sampling.model, messages[-1]["content"], sampling))
        if sampling.model not in self.knows:
            raise EngineRefused(404, "no such model")
        for index in range(n):
            right = number in self.knows[sampling.model] and (n == 1 or index % 2 == 0)
            text = program(f"def f{number}():\n    return {number if right else -1}  # {index}")
            seed = None if sampling.seed is None else sampling.seed + index
            made = candidate(text, sampling)
            yield Candidate(**{**_fields(made), "sampling": Sampling(model=sampling.model, temperature=0.0, seed=seed)})

    async def weigh(
        self, messages: Sequence[Message], words: Sequence[str], model: str, meter: Meter
    ) -> tuple[float, ...] | None:
        """The critic `good` sees wrong answers; `blind` prefers them."""
        wrong = "return -1" in messages[-2]["content"]
        passed = 0.1 if wrong == (model == "good") else 0.9
        return (passed, 1 - passed, 0.0, 0.0)

    async def count_tokens(self, messages: Sequence[Message], model: str) -> int | None:
        return None


def _fields(made: Candidate) -> dict[str, Any]:
    return {name: getattr(made, name) for name in Candidate.__slots__}


def sandbox() -> ScriptedSandbox:
    return ScriptedSandbox(passes_if(lambda code: "return -1" not in code))


async def test_versions_are_paired_problem_by_problem() -> None:
    policy, shown = Knowing({"actor@2": {0, 1, 2, 3}, "base": {0, 1, 4}}), Console(record=True, width=200)
    with Answers(None) as answers:
        report = await compare(policy, sandbox(), problems(6), "actor@2", "base", Question(), answers, shown)
    assert "actor@2: 4 of 6 problems solved, base 3: +16.7 points [" in (told := shown.export_text())
    assert "], 2 gained, 1 lost\n" in told
    assert report["candidate"] == "actor@2" and report["against"] == "base"
    pairs = [(result["problem"], result["against"], result["candidate"]) for result in report["results"]]
    assert pairs == [
        ("p0", True, True),
        ("p1", True, True),
        ("p2", False, True),
        ("p3", False, True),
        ("p4", True, False),
        ("p5", False, False),
    ]
    assert all(sampling.temperature == 0.0 for _, _, sampling in policy.asked)
    assert all("assert" not in statement for _, statement, _ in policy.asked)
    json.dumps(report)


async def test_a_run_that_was_stopped_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    policy = Knowing({"base": {0, 1}})
    with Answers(file) as answers:
        await evaluate(policy, sandbox(), problems(3), "base", Question(), answers)
    with file.open("a") as torn:
        torn.write('{"model": "base", "prob')
    with Answers(file) as answers:
        made = await evaluate(policy, sandbox(), problems(5), "base", Question(), answers)
    assert [statement for _, statement, _ in policy.asked] == [f"Write f{number}." for number in range(5)]
    assert solved(made) == {"p0": True, "p1": True, "p2": False, "p3": False, "p4": False}
    with Answers(file) as answers:
        await evaluate(policy, sandbox(), problems(5), "base", Question(), answers)
        assert len(policy.asked) == 5
        await evaluate(policy, sandbox(), problems(5), "base", Question(max_tokens=7), answers)
        assert len(policy.asked) == 10


async def test_what_the_sandbox_cannot_judge_counts_as_neither_and_is_asked_again(tmp_path: Path) -> None:
    def judge(code: str, tests: Sequence[Test]) -> Verdict:
        outcome = Outcome.SANDBOX_ERROR if "def f1" in code else Outcome.PASSED
        return Verdict(id="", outcome=outcome, passed=0, total=1)

    policy = Knowing({"base": {0, 1, 2}})
    with Answers(tmp_path / "answers.jsonl") as answers:
        made = await evaluate(policy, ScriptedSandbox(judge), problems(3), "base", Question(), answers)
    assert solved(made) == {"p0": True, "p2": True}
    report = gate_report("actor@1", "base", problems(3), {"p0": True, "p1": True, "p2": False}, solved(made))
    assert report.left_out == ("p1",) and len(report.results) == 2
    with Answers(tmp_path / "answers.jsonl") as answers:
        again = await evaluate(policy, sandbox(), problems(3), "base", Question(), answers)
    assert solved(again) == {"p0": True, "p1": True, "p2": True} and len(policy.asked) == 4


async def test_a_model_that_is_not_served_stops_the_run() -> None:
    with Answers(None) as answers, pytest.raises(EngineRefused):
        await evaluate(Knowing({}), sandbox(), problems(3), "actor@9", Question(), answers)


async def test_pass_at_k_of_a_version() -> None:
    policy = Knowing({"base": {0, 1}})
    with Answers(None) as answers:
        told = await measure(
            policy, sandbox(), problems(4), "base", Question(samples=4), [1, 2, 4, 9], answers, Console(quiet=True)
        )
    assert told["problems"] == 4 and told["first"]["estimate"] == 0.5
    assert told["pass_at"] == {"1": 0.25, "2": pytest.approx((5 / 6) / 2), "4": 0.5}


def test_pass_at_k_is_the_share_of_draws_with_a_pass() -> None:
    for samples in range(1, 7):
        for passed in range(samples + 1):
            for k in range(1, samples + 1):
                draws = list(combinations([True] * passed + [False] * (samples - passed), k))
                assert pass_at_k(samples, passed, k) == pytest.approx(sum(map(any, draws)) / len(draws))
    for wrong in ((3, 4, 1), (3, 1, 0), (3, 1, 4)):
        with pytest.raises(ValueError, match="pass@"):
            pass_at_k(*wrong)
    assert mean_pass_at_k({}, 1) == 0.0


async def test_a_critic_is_measured_by_what_it_puts_first() -> None:
    policy = Knowing({"base": {0, 1}})
    with Answers(None) as answers:
        made = await evaluate(policy, sandbox(), problems(3), "base", Question(samples=4, temperature=1.0), answers)
    assert {name: [answer.passed for answer in ours] for name, ours in made.items()}["p0"] == [True, False, True, False]
    good = await ranking(problems(3), made, VerdictTokenCritic(policy, "good"))
    blind = await ranking(problems(3), made, VerdictTokenCritic(policy, "blind"))
    assert good == {"p0": True, "p1": True, "p2": False} and not any(blind.values())


async def test_an_engine_that_is_away_for_a_moment_is_asked_again() -> None:
    policy = ScriptedPolicy([EngineUnavailable("away"), program("def f0():\n    return 0")])
    with Answers(None) as answers:
        made = await evaluate(policy, sandbox(), problems(1), "base", Question(), answers)
    assert solved(made) == {"p0": True}
