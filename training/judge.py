"""What a problem's hidden tests say of the answers to it."""

from __future__ import annotations

import asyncio
from typing import Literal

from agent.run import Run
from agent.sandbox.contract import Sandbox
from memory.records import Attempt, Candidate, Fault, Outcome, Problem, Verdict


class HiddenTests:
    """Verdicts of one problem's hidden tests; a program that comes again is not run again."""

    def __init__(self, sandbox: Sandbox, problem: Problem, run: Run) -> None:
        self._sandbox = sandbox
        self._problem = problem
        self._run = run
        self._verdicts: dict[str, asyncio.Task[Verdict]] = {}

    async def attempt(self, candidate: Candidate, origin: Literal["first", "sample"]) -> Attempt:
        """The candidate with its verdict."""
        return Attempt(candidate=candidate, verdict=await self.verdict(candidate), origin=origin, round=0)

    async def verdict(self, candidate: Candidate) -> Verdict:
        """Raises what `Sandbox.run` raises."""
        problem = self._problem
        if not candidate.code:
            fault = Fault(type="no_code", message="the answer contains no program")
            return Verdict(id="", outcome=Outcome.COMPILE_ERROR, passed=0, total=len(problem.hidden), error=fault)
        if candidate.code not in self._verdicts:
            self._verdicts[candidate.code] = asyncio.create_task(self._executed(candidate.code))
        return await self._verdicts[candidate.code]

    async def _executed(self, code: str) -> Verdict:
        """With the whole prelude: the hidden tests may need helpers that the program does not use."""
        problem = self._problem
        with self._run.busy("sandbox"):
            return await self._sandbox.run(
                code,
                problem.hidden,
                entry_point=problem.entry_point,
                prelude=problem.prelude,
                limits=problem.limits,
                owner=self._run.owner,
            )
