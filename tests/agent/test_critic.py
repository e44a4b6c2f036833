"""The critic by verdict tokens, and the rule that stands in for it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from agent.calibration import Calibration
from agent.critic import VERDICTS, VerdictTokenCritic, Written, by_rule
from agent.run import Run
from tests.fakes import ScriptedPolicy, candidate

CHAT = [{"role": "user", "content": "Write f."}]


async def test_the_weights_of_the_words_are_the_opinion() -> None:
    run = Run()
    critic = VerdictTokenCritic(ScriptedPolicy([], opinion=(0.5, 0.25, 0.2, 0.05)), "actor@1")
    first, second = await critic.judge(CHAT, [Written("x = 1"), Written("x = 2")], run)
    assert (first.passed, first.failed, first.crashes, first.invalid) == (0.5, 0.25, 0.2, 0.05)
    assert first.by == "actor@1" and second == first
    assert (run.prompt_tokens, run.completion_tokens) == (6, 2), "opinions are paid for"


async def test_where_the_engine_tells_nothing_the_rule_speaks() -> None:
    critic = VerdictTokenCritic(ScriptedPolicy([], opinion=None), "base")
    good, bad = await critic.judge(CHAT, [Written("x = 1"), Written("x =")], Run())
    assert good.by == bad.by == "rule"
    assert bad.invalid == 1.0 and good.passed > bad.passed


async def test_a_calibrated_critic_knows_how_sure_the_writer_was() -> None:
    calibration = Calibration(bias=1.0, verdict=0.5, surprise=-0.5, length=0.0, usual=-1.0)
    critic = VerdictTokenCritic(ScriptedPolicy([], opinion=(0.5, 0.25, 0.2, 0.05)), "critic@1", calibration)
    programs = [Written("x = 1", -1.0), Written("x = 2", -30.0), Written("x = 3")]
    sure, unsure, unknown = await critic.judge(CHAT, programs, Run())
    assert sure.passed == pytest.approx(1 / (1 + math.exp(-1.0) * math.sqrt(2.0))) and unknown.passed == pytest.approx(
        0.5
    )
    assert sure.passed > unknown.passed > unsure.passed
    for said in (sure, unsure, unknown):
        assert said.passed + said.failed + said.crashes + said.invalid == pytest.approx(1.0)
        assert said.failed / said.crashes == pytest.approx(0.25 / 0.2) and said.by == "critic@1"
    longer = VerdictTokenCritic(
        ScriptedPolicy([], opinion=(0.5, 0.25, 0.2, 0.05)), "critic@1", replace(calibration, length=1.0)
    )
    short, long, beginning = await longer.judge(
        CHAT, [Written("x = 1", -30.0), Written("x = 1 + 1 + 1", -30.0), Written("x = 1 + 1 + 1")], Run()
    )
    assert long.passed > short.passed and beginning.passed == unknown.passed
    certain = VerdictTokenCritic(ScriptedPolicy([], opinion=(1.0, 0.0, 0.0, 0.0)), "critic@1", calibration)
    (only,) = await certain.judge(CHAT, [Written("x", -100.0)], Run())
    assert only.passed < 1.0 and only.passed + only.failed == pytest.approx(1.0)


def test_how_likely_an_answer_was_is_known_of_whole_answers_only() -> None:
    whole = replace(candidate("x = 1"), logprobs=(-0.5, -0.25))
    assert Written.of(whole) == Written(whole.code, -0.75)
    assert Written.of(replace(whole, prefix="x")).logprob is None
    assert Written.of(replace(whole, logprobs=())).logprob is None


def test_opinions_sum_to_one() -> None:
    for code in ("x = 1", "x ="):
        said = by_rule(code)
        assert said.passed + said.failed + said.crashes + said.invalid == pytest.approx(1.0)
    assert len(VERDICTS) == 4
