"""A policy whose answers are kept in a file, so that the same question is answered the same way without the engine.

Benchmarks compare several settings of the loop on the same samples with it. Every answer is kept under its prompt, its
sampling settings and its own seed, so that a call for eight answers shares them with one for sixteen.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import asdict, replace
from pathlib import Path

from agent.policy import Meter, Policy
from agent.task import Message
from memory.records import Candidate, Sampling
from memory.wire import from_json, to_json


class RecordedPolicy:
    """`Policy` that asks another one for what the file does not hold.

    An answer that is asked for is completed and kept, also where the caller would have aborted it. What is counted is
    what the engine would have done for this caller: the answers of a call grow together, token by token, and those that
    are longer than the last one taken are cut there.
    """

    def __init__(self, policy: Policy, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._policy = policy
        self._db = sqlite3.connect(file, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("CREATE TABLE IF NOT EXISTS answers (question TEXT PRIMARY KEY, answer TEXT NOT NULL)")

    @property
    def continues(self) -> bool:
        """See Policy.continues."""
        return self._policy.continues

    def close(self) -> None:
        """Close the file."""
        self._db.close()

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
        """See Policy.sample. Without a seed nothing is kept."""
        if sampling.seed is None:
            async with aclosing(
                self._policy.sample(messages, n, sampling, meter, prefix=prefix, entry_point=entry_point)
            ) as live:
                async for candidate in live:
                    yield candidate
            return
        made = await self._answers(messages, n, sampling, sampling.seed, prefix, entry_point)
        meter.spend(made[0].prompt_tokens, 0)
        length = 0
        for place, candidate in enumerate(sorted(made, key=lambda one: one.completion_tokens)):
            await meter.settled()
            meter.spend(0, (candidate.completion_tokens - length) * (n - place))
            length = candidate.completion_tokens
            yield candidate
        await meter.settled()

    async def weigh(
        self, messages: Sequence[Message], words: Sequence[str], model: str, meter: Meter
    ) -> tuple[float, ...] | None:
        """See Policy.weigh."""
        question = _question("weigh", list(messages), list(words), model)
        kept = self._kept(question)
        if kept is None:
            cost = _Cost()
            weights = await self._policy.weigh(messages, words, model, cost)
            kept = json.dumps([weights, cost.prompt, cost.completion])
            self._keep(question, kept)
        weights, prompt, completion = json.loads(kept)
        meter.spend(prompt, completion)
        return None if weights is None else tuple(weights)

    async def count_tokens(self, messages: Sequence[Message], model: str) -> int | None:
        """See Policy.count_tokens."""
        question = _question("count", list(messages), model)
        kept = self._kept(question)
        if kept is None:
            kept = json.dumps(await self._policy.count_tokens(messages, model))
            self._keep(question, kept)
        count: int | None = json.loads(kept)
        return count

    async def _answers(
        self,
        messages: Sequence[Message],
        n: int,
        sampling: Sampling,
        seed: int,
        prefix: str,
        entry_point: str | None,
    ) -> list[Candidate]:
        """All `n` answers, in the order of their seeds; those missing are asked for, neighbours in one call."""
        settings = asdict(replace(sampling, seed=None))
        questions = [_question("sample", list(messages), settings, prefix, entry_point, seed + i) for i in range(n)]
        answers = [self._kept(question) for question in questions]
        while None in answers:
            start = answers.index(None)
            end = next((place for place in range(start, n) if answers[place] is not None), n)
            asked = replace(sampling, seed=seed + start)
            call = self._policy.sample(messages, end - start, asked, _Cost(), prefix=prefix, entry_point=entry_point)
            async with aclosing(call) as candidates:
                async for candidate in candidates:
                    place = (candidate.sampling.seed or 0) - seed
                    answers[place] = to_json(candidate)
                    self._keep(questions[place], to_json(candidate))
        return [from_json(Candidate, answer) for answer in answers if answer is not None]

    def _kept(self, question: str) -> str | None:
        row = self._db.execute("SELECT answer FROM answers WHERE question = ?", (question,)).fetchone()
        return None if row is None else str(row[0])

    def _keep(self, question: str, answer: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (question, answer))


class _Cost:
    """A meter that only counts."""

    def __init__(self) -> None:
        self.prompt = 0
        self.completion = 0

    def spend(self, prompt: int, completion: int) -> None:
        self.prompt += prompt
        self.completion += completion

    async def settled(self) -> None:
        return


def _question(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
