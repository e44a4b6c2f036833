"""Samples made of random tokens, for tests that need some and no meaning."""

from __future__ import annotations

import random

from memory.records import Outcome
from tests.training.tiny import VOCABULARY
from training.batch import Example
from training.sample import TokenSample, TokenStreams


def sample(number: int, *, prompt: int = 5, completion: int = 8, outcome: Outcome = Outcome.PASSED) -> TokenSample:
    """A sampled completion; equal numbers and lengths give equal ones."""
    drawn = random.Random(f"{number}/{prompt}/{completion}")
    every = (True,) * completion
    return TokenSample(
        id=f"t{number}/0",
        problem_id=f"p{number}",
        family=f"f{number}",
        policy_version="base",
        outcome=outcome,
        passed=int(outcome is Outcome.PASSED),
        total=1,
        prompt_ids=tuple(drawn.randrange(3, VOCABULARY) for _ in range(prompt)),
        completion_ids=tuple(drawn.randrange(3, VOCABULARY) for _ in range(completion)),
        behaviour_logprobs=tuple(-drawn.uniform(3.0, 6.0) for _ in range(completion)),
        sampled=every,
        program=every,
        blamed=(False,) * completion,
        executed=every,
    )


def imitated(number: int, *, prompt: int = 5, completion: int = 8) -> Example:
    """Cross-entropy on every token."""
    return Example(sample(number, prompt=prompt, completion=completion), TokenStreams(ce_weight=(1.0,) * completion))


def rewarded(number: int, advantage: float = 1.0, *, prompt: int = 5, completion: int = 8, kl: float = 0.0) -> Example:
    """Policy gradient with one advantage on every token, and perhaps a divergence."""
    streams = TokenStreams(
        advantage=(advantage,) * completion,
        pg_weight=(1.0,) * completion,
        kl_weight=(kl,) * completion if kl else (),
    )
    return Example(sample(number, prompt=prompt, completion=completion), streams)


def mixed(count: int) -> list[Example]:
    """Both kinds, of various lengths."""
    drawn = random.Random(count)
    made = []
    for number in range(count):
        prompt, completion = drawn.randint(2, 12), drawn.randint(1, 20)
        if number % 2:
            made.append(imitated(number, prompt=prompt, completion=completion))
        else:
            made.append(rewarded(number, drawn.uniform(-1, 1), prompt=prompt, completion=completion, kl=0.1))
    return made
