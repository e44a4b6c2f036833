"""One step of the loop: candidates are sampled and each is executed as soon as it is complete, until there are enough.

An engine that fails is asked again, with growing pauses, as long as the deadline allows.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from agent.budget import MIN_P, Origin, Step
from agent.errors import AgentError, EngineRefused, EngineUnavailable
from agent.feedback import progress
from agent.policy import Policy
from agent.prompts import Prompt
from agent.run import Run
from agent.sandbox.contract import Sandbox
from agent.trial import trial
from memory.records import Attempt, Candidate, Fault, Outcome, Problem, Sampling, Verdict

_ENGINE_BACKOFF_S = (0.5, 1.0, 2.0, 4.0, 8.0)
END_OF_CODE = "\n```\n"
"""Where an answer that was begun as code ends; what a model says after its program is of no use here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What is asked in one step."""

    prompt: Prompt
    candidates: int
    sampling: Sampling
    origin: Origin
    parent: int | None = None
    """Index of the attempt that is repaired or continued."""
    shown: tuple[str, ...] = ()
    """Ids of the experiences in the prompt."""


class Sampler:
    """Makes the attempts of one request."""

    def __init__(self, policy: Policy, sandbox: Sandbox, run: Run, problem: Problem, deadline: float) -> None:
        self._policy = policy
        self._sandbox = sandbox
        self._run = run
        self._problem = problem
        self._deadline = deadline

    async def attempts(self, call: Call, enough: Callable[[Sequence[Attempt]], bool], limit: int) -> int:
        """Add the attempts of one call to the run; their number. Ends early once `enough` is true of all attempts.

        Raises EngineUnavailable or EngineRefused only while the run has no attempt at all. `limit` is for the progress.
        """
        run, before, failures = self._run, len(self._run.attempts), 0
        while True:
            left = call.candidates - (len(run.attempts) - before)
            try:
                async with asyncio.timeout(self._deadline - time.time()):
                    await self._once(replace(call, candidates=left), enough, limit)
                return len(run.attempts) - before
            except TimeoutError:
                return len(run.attempts) - before
            except EngineRefused:
                if run.attempts:
                    return len(run.attempts) - before
                raise
            except EngineUnavailable as error:
                if len(run.attempts) - before == call.candidates or enough(run.attempts):
                    return len(run.attempts) - before
                pause = _ENGINE_BACKOFF_S[min(failures, len(_ENGINE_BACKOFF_S) - 1)]
                failures += 1
                if time.time() + pause >= self._deadline:
                    if run.attempts:
                        return len(run.attempts) - before
                    raise
                run.tell(f"engine unavailable, asking again in {pause:g} s ({error})")
                await asyncio.sleep(pause)

    async def _once(self, call: Call, enough: Callable[[Sequence[Attempt]], bool], limit: int) -> None:
        """One call of the policy; attempts are added to the run as they complete, also when cancelled."""
        run = self._run
        verified = asyncio.Event()

        async def execute(candidate: Candidate) -> None:
            verdict: Verdict | None = None
            try:
                verdict = await self._verdict(candidate)
            finally:
                attempt = Attempt(
                    candidate=candidate,
                    verdict=verdict,
                    origin=call.origin,
                    round=run.rounds,
                    parent=call.parent,
                    shown=call.shown,
                )
                run.attempts.append(attempt)
            run.tell(progress(len(run.attempts), limit, candidate, verdict))
            if enough(run.attempts):
                verified.set()

        async def generate() -> None:
            failure: EngineUnavailable | None = None
            try:
                async with asyncio.TaskGroup() as executions:
                    try:
                        async with aclosing(self._candidates(call)) as candidates:
                            async for candidate in candidates:
                                executions.create_task(execute(candidate))
                    except EngineUnavailable as error:
                        failure = error
            except* AgentError as errors:
                raise errors.exceptions[0] from None
            if failure is not None:
                raise failure

        generating, solved = asyncio.create_task(generate()), asyncio.create_task(verified.wait())
        try:
            await asyncio.wait({generating, solved}, return_when=asyncio.FIRST_COMPLETED)
            if generating.done():
                generating.result()
        finally:
            generating.cancel()
            solved.cancel()
            await asyncio.gather(generating, solved, return_exceptions=True)

    async def _candidates(self, call: Call) -> AsyncGenerator[Candidate]:
        """The policy's candidates, with the engine's time counted."""
        with self._run.busy("engine"):
            stream = self._policy.sample(
                call.prompt.messages,
                call.candidates,
                call.sampling,
                self._run,
                prefix=call.prompt.prefix,
                entry_point=self._problem.entry_point,
            )
            async with aclosing(stream):
                async for candidate in stream:
                    yield candidate

    async def _verdict(self, candidate: Candidate) -> Verdict:
        """The candidate's verdict; a program that comes again is not run again."""
        problem, code = self._problem, candidate.code
        if not code:
            fault = Fault(type="no_code", message="the answer contains no program")
            return Verdict(id="", outcome=Outcome.COMPILE_ERROR, passed=0, total=len(problem.visible), error=fault)
        earlier = (attempt.verdict for attempt in self._run.attempts if attempt.candidate.code == code)
        for verdict in earlier:
            if verdict is not None and verdict.outcome is not Outcome.SANDBOX_ERROR:
                return verdict
        with self._run.busy("sandbox"):
            return await trial(self._sandbox, problem, code, problem.visible, owner=self._run.owner)


def sampling_of(own: Sampling, step: Step, made: int) -> Sampling:
    """The client's settings for the first candidate, ours for the others; seeds go on from call to call."""
    seed = None if own.seed is None else own.seed + made
    if step.temperature is None:
        return replace(own, seed=seed)
    stop = (END_OF_CODE,) if step.start == "code" else ()
    return replace(own, temperature=step.temperature, top_p=1.0, min_p=MIN_P, seed=seed, stop=stop)
