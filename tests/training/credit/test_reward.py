"""Rewards, baselines and the weight of a token, worked by hand."""

from __future__ import annotations

from itertools import product

import pytest

from memory.records import Outcome
from tests.training.credit.attempts import ALL, CRASHED, FAILED, INVALID, NONE, PASSED, attempt, gradient, greedy
from training.credit.reward import baseline, pushed, reward
from training.sample import TokenStreams


def test_the_four_rewards_and_the_adaptive_one() -> None:
    assert [reward(attempt(0, outcome)) for outcome in (INVALID, CRASHED, FAILED, PASSED)] == [-1.0, -0.6, -0.3, 1.0]
    assert reward(attempt(0, Outcome.TIMEOUT)) == -0.6
    assert reward(attempt(0, FAILED, passed=3), adaptive=True) == pytest.approx(-0.3 + 1.3 * 3 / 4)
    assert reward(attempt(0, CRASHED, passed=3), adaptive=True) == -0.6
    assert reward(attempt(0, FAILED, total=0), adaptive=True) == -0.3


def test_every_passing_program_outranks_every_failing_one() -> None:
    passing = [reward(attempt(0, PASSED, quality=q), adaptive=True, quality=True) for q in (-5.0, 0.0, 0.2, 9.0)]
    failing = [
        reward(attempt(0, outcome, passed=passed, total=100, quality=0.3), adaptive=True, quality=True)
        for outcome, passed in product((FAILED, CRASHED, INVALID), (0, 50, 99))
    ]
    assert min(passing) > max(failing)
    assert passing == [1.0, 1.0, 1.2, 1.3]


def test_baselines() -> None:
    group = [attempt(0, PASSED), attempt(1, FAILED, passed=2), greedy(CRASHED)]
    assert baseline(group, "greedy") == -0.6
    assert baseline(group, "group_mean") == pytest.approx((1.0 - 0.3) / 2)
    assert baseline(group, "group_mean", adaptive=True) == pytest.approx((1.0 + 0.35) / 2)
    assert baseline(group, "none") == 0.0
    assert baseline(group[:2], "greedy") is None
    assert baseline([greedy(Outcome.SANDBOX_ERROR)], "greedy") is None


def test_the_fine_part_is_w_times_t_until_alpha_is_capped() -> None:
    sample = attempt(0, FAILED, blamed=(False, True, False, False))
    whole = pushed(sample, 0.0, fine=0.3)
    assert whole.advantage == pytest.approx((0.0, -1.2, 0.0, 0.0))  # alpha = 4 / 1
    assert sum(whole.advantage) == pytest.approx(-0.3 * 4)
    assert sum(pushed(sample, 0.0, fine=0.3, cap=2.0).advantage) == pytest.approx(-0.3 * 2)


def test_the_span_is_counted_after_the_masks() -> None:
    sample = attempt(0, FAILED, sampled=(False, True, True, True), executed=(True, True, True, False), blamed=ALL)
    made = pushed(sample, 0.5, executed=True, fine=0.3)
    assert made.advantage == pytest.approx((0.0, 0.2, 0.2, 0.0))  # alpha = 2 / 2
    assert made.pg_weight == (0.0, 1.0, 1.0, 0.0)


def test_the_critic_scales_and_can_be_normalised() -> None:
    sample = attempt(0, FAILED, critic=(0.2, 0.2, 0.2, 0.4))
    assert pushed(sample, -1.0, critic=True).advantage == pytest.approx((-0.2, -0.2, -0.2, -0.4))
    assert pushed(sample, -1.0, critic=True, normalise=True).advantage == pytest.approx((-0.8, -0.8, -0.8, -1.6))
    assert pushed(sample, -1.0).advantage == (-1.0,) * 4


def test_at_the_baseline_and_unblamed_nothing_is_pushed() -> None:
    assert pushed(attempt(0, FAILED, blamed=NONE), 0.0, fine=0.3, kl=0.1) == TokenStreams()


@pytest.mark.parametrize("form", ["reinforce", "clip"])
def test_given_and_unexecuted_tokens_have_no_gradient(form: str) -> None:
    sample = attempt(0, FAILED, sampled=(False, True, True, True), executed=(True, True, False, True), blamed=ALL)
    made = gradient(sample, pushed(sample, -0.7, executed=True, fine=0.3), form)  # type: ignore[arg-type]
    assert (made[[0, 2]] == 0).all()
    assert (made[[1, 3]] != 0).all()


@pytest.mark.parametrize("form", ["reinforce", "clip"])
def test_a_step_along_the_gradient_makes_an_encouraged_token_likelier(form: str) -> None:
    sample = attempt(0, PASSED)
    for sign in (1, -1):
        made = gradient(sample, pushed(sample, sign * 0.5), form)  # type: ignore[arg-type]
        own = made[range(4), list(sample.completion_ids)]
        assert (sign * own < 0).all()
