"""The critic by verdict tokens, and the rule that stands in for it."""

from __future__ import annotations

import pytest

from agent.critic import VERDICTS, VerdictTokenCritic, by_rule
from agent.run import Run
from tests.fakes import ScriptedPolicy

CHAT = [{"role": "user", "content": "Write f."}]


async def test_the_weights_of_the_words_are_the_opinion() -> None:
    run = Run()
    critic = VerdictTokenCritic(ScriptedPolicy([], opinion=(0.5, 0.25, 0.2, 0.05)), "actor@1")
    first, second = await critic.judge(CHAT, ["x = 1", "x = 2"], run)
    assert (first.passed, first.failed, first.crashes, first.invalid) == (0.5, 0.25, 0.2, 0.05)
    assert first.by == "actor@1" and second == first
    assert (run.prompt_tokens, run.completion_tokens) == (6, 2), "opinions are paid for"


async def test_where_the_engine_tells_nothing_the_rule_speaks() -> None:
    critic = VerdictTokenCritic(ScriptedPolicy([], opinion=None), "base")
    good, bad = await critic.judge(CHAT, ["x = 1", "x ="], Run())
    assert good.by == bad.by == "rule"
    assert bad.invalid == 1.0 and good.passed > bad.passed


def test_opinions_sum_to_one() -> None:
    for code in ("x = 1", "x ="):
        said = by_rule(code)
        assert said.passed + said.failed + said.crashes + said.invalid == pytest.approx(1.0)
    assert len(VERDICTS) == 4
