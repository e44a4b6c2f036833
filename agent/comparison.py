"""Programs that all pass the visible tests, told apart by their answers to inputs that the statement does not show."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from agent.behaviour import agreement, behaviour
from agent.probes import probes
from agent.sandbox.contract import Sandbox
from agent.testgen import consensus
from agent.trial import trial
from memory.programs import normal
from memory.records import Attempt, CallTest, Limits, Outcome, ProbeTest, Problem, Score, Verdict

PROBE_LIMITS = Limits(cpu_seconds_per_test=1.0, cpu_seconds=6.0)
"""A program that is slow on a probe gives no answer to it."""


@dataclass(frozen=True, slots=True)
class Group:
    """Attempts whose programs differ in layout and comments only."""

    attempts: tuple[int, ...]
    code: str


def groups(attempts: Sequence[Attempt], chosen: Sequence[int]) -> list[Group]:
    """The distinct programs of the chosen attempts, those of most attempts first."""
    by_program: dict[str, list[int]] = {}
    for index in chosen:
        by_program.setdefault(normal(attempts[index].candidate.code), []).append(index)
    made = [Group(tuple(indices), attempts[indices[0]].candidate.code) for indices in by_program.values()]
    return sorted(made, key=lambda group: -len(group.attempts))


async def compare(
    sandbox: Sandbox, problem: Problem, programs: Sequence[Group], written: Sequence[CallTest], owner: str
) -> list[Score]:
    """One score per program. With `written` tests their inputs are probes too, and how many hold is a voice."""
    asked = [
        *(ProbeTest(call=test.call) for test in written),
        *probes([*problem.visible, *written], problem.entry_point),
    ]
    verdicts = await asyncio.gather(*(_run(sandbox, problem, one, asked, written, owner) for one in programs))
    votes = [len(program.attempts) for program in programs]
    shares = agreement([behaviour(probed) for probed, _ in verdicts], votes)
    held = consensus([judged for _, judged in verdicts], votes)
    return [
        Score(
            votes=count,
            agreement=share if asked else None,
            consensus=voice if written else None,
            written_passed=judged.passed if judged is not None else 0,
        )
        for count, share, voice, (_, judged) in zip(votes, shares, held, verdicts, strict=True)
    ]


async def _run(
    sandbox: Sandbox,
    problem: Problem,
    program: Group,
    asked: Sequence[ProbeTest],
    written: Sequence[CallTest],
    owner: str,
) -> tuple[Verdict, Verdict | None]:
    async def verdict(tests: Sequence[ProbeTest | CallTest]) -> Verdict:
        return await trial(sandbox, problem, program.code, tests, limits=PROBE_LIMITS, owner=owner)

    probed = await verdict(asked) if asked else Verdict(id="", outcome=Outcome.PASSED, passed=0, total=0)
    return probed, await verdict(written) if written else None
