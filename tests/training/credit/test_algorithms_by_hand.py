"""A hand-worked example of each algorithm, and its switches."""

from __future__ import annotations

import pytest

from memory.records import Outcome
from tests.training.credit.attempts import CRASHED, FAILED, PASSED, attempt, gradient, greedy, reference
from training.credit import coderl, grpo, rft, rltf, sft, stepcoder
from training.sample import TokenStreams

NOTHING = TokenStreams()
ONES = (1.0,) * 4


def test_sft_imitates_references_only() -> None:
    made = sft.streams([attempt(0, PASSED), reference()], sft.SftSettings())
    assert made[0] == NOTHING
    assert made[1].ce_weight == ONES and not made[1].empty


def test_rft_takes_distinct_passing_programs_up_to_the_cap() -> None:
    group = [
        attempt(0, PASSED),
        attempt(0, PASSED, id="again"),
        attempt(1, FAILED),
        *(attempt(n, PASSED) for n in (2, 3)),
    ]
    made = rft.streams(group, rft.RftSettings(per_problem=2))
    assert [one.ce_weight for one in made] == [ONES, (), (), ONES, ()]
    begun = attempt(0, PASSED, sampled=(False, True, True, True))
    assert rft.streams([begun], rft.RftSettings())[0].ce_weight == (0.0, 1.0, 1.0, 1.0)


def test_coderl() -> None:
    group = [attempt(0, PASSED), attempt(1, CRASHED, critic=(0.25, 0.5, 0.5, 1.0)), greedy(FAILED), reference()]
    made = coderl.streams(group, coderl.CodeRLSettings())
    assert made[0].advantage == pytest.approx((1.3,) * 4)  # 1.0 - -0.3
    assert made[1].advantage == pytest.approx((-0.075, -0.15, -0.15, -0.3))  # q * (-0.6 - -0.3)
    assert made[2] == NOTHING
    assert made[3].ce_weight == ONES and not any(made[3].pg_weight)
    absolute = coderl.streams(group, coderl.CodeRLSettings(baseline="none", critic=False, cross_entropy=False))
    assert [one.advantage[:1] for one in absolute] == [(1.0,), (-0.6,), (), ()]
    off = coderl.streams(group, coderl.CodeRLSettings(policy_gradient=False))
    assert [one.empty for one in off] == [True, True, True, False]
    assert coderl.streams(group[:2], coderl.CodeRLSettings()) == [NOTHING, NOTHING]  # no greedy one


def test_rltf() -> None:
    blamed = (False, False, True, True)
    group = [
        attempt(0, FAILED, passed=2),
        attempt(1, CRASHED, blamed=blamed, critic=(0.5,) * 4),
        greedy(FAILED, passed=1),
    ]
    made = rltf.streams(group, rltf.RLTFSettings())
    assert made[0].advantage == pytest.approx((0.325,) * 4)  # 0.35 - 0.025
    assert made[1].advantage == pytest.approx((-0.3125, -0.3125, -0.6125, -0.6125))  # 0.5 * (-0.625 - 0.3 * 2 * m)
    assert made[2] == NOTHING
    fine = rltf.streams(group, rltf.RLTFSettings(coarse=False, critic=False))
    assert fine[0] == NOTHING
    assert fine[1].advantage == pytest.approx((0.0, 0.0, -0.6, -0.6))
    coarse = rltf.streams(group, rltf.RLTFSettings(adaptive=False, fine_weight=0.0, critic=False))
    assert coarse[0] == NOTHING  # as the greedy one
    assert coarse[1].advantage == pytest.approx((-0.3,) * 4)


def test_stepcoder() -> None:
    ran = (True, True, False, True)
    group = [attempt(0, PASSED, executed=ran), attempt(1, CRASHED), greedy(PASSED)]
    made = stepcoder.streams(group, stepcoder.StepCoderSettings())
    assert made[0].advantage == pytest.approx((0.8, 0.8, 0.0, 0.8))  # mean 0.2
    assert made[1].advantage == pytest.approx((-0.8,) * 4)
    assert made[0].pg_weight == (1.0, 1.0, 0.0, 1.0)
    assert made[0].kl_weight == (0.05,) * 4
    assert made[2] == NOTHING
    pushes = gradient(group[0], made[0], "clip")
    assert (pushes[2] == 0).all() and (pushes[[0, 1, 3]] != 0).all()
    plain = stepcoder.streams(group, stepcoder.StepCoderSettings(executed_only=False, kl=0.0))
    assert plain[0].advantage == pytest.approx((0.8,) * 4) and plain[0].kl_weight == ()


def test_grpo() -> None:
    group = [attempt(0, PASSED), attempt(1, FAILED), attempt(2, FAILED, finish_reason="length"), greedy(PASSED)]
    mean, deviation = 0.4 / 3, 0.612826  # of 1, -0.3, -0.3
    made = grpo.streams(group, grpo.GRPOSettings())
    assert made[0].advantage == pytest.approx(((1 - mean) / deviation,) * 4, rel=1e-3)
    assert made[1].advantage == pytest.approx(((-0.3 - mean) / deviation,) * 4, rel=1e-3)
    assert made[2] == made[1] and made[3] == NOTHING
    raw = grpo.streams(group, grpo.GRPOSettings(divide=False, mask_truncated=True, kl=0.01))
    assert raw[0].advantage == pytest.approx((1 - mean,) * 4) and raw[0].kl_weight == (0.01,) * 4
    assert raw[2] == NOTHING


def test_groups_of_equal_rewards_teach_nothing() -> None:
    group = [attempt(0, FAILED), attempt(1, FAILED), greedy(PASSED)]
    assert grpo.streams(group, grpo.GRPOSettings()) == [NOTHING] * 3
    assert stepcoder.streams(group, stepcoder.StepCoderSettings()) == [NOTHING] * 3


def test_our_own_failures_never_teach() -> None:
    group = [attempt(0, PASSED), attempt(1, Outcome.SANDBOX_ERROR), attempt(2, FAILED), greedy(FAILED)]
    for made in (
        sft.streams(group, sft.SftSettings()),
        rft.streams(group, rft.RftSettings()),
        coderl.streams(group, coderl.CodeRLSettings()),
        rltf.streams(group, rltf.RLTFSettings()),
        stepcoder.streams(group, stepcoder.StepCoderSettings()),
        grpo.streams(group, grpo.GRPOSettings()),
    ):
        assert len(made) == 4 and made[1] == NOTHING
