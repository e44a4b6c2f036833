"""Small real implementations of the protocols, scripted: tests use these instead of patching anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

import numpy as np

from agent.budget import Budget
from agent.critic import Written
from agent.errors import EngineError
from agent.extract import extract
from agent.policy import Meter
from agent.sandbox.contract import Isolation
from agent.task import Message
from memory.embed import Embedder, Vector
from memory.errors import EmbedderUnavailable, StoreUnavailable
from memory.experience import Query, Recalled, Selection, Stats, Usage
from memory.programs import program_digest
from memory.records import Candidate, CaseResult, Experience, Fault, Limits, Opinion, Outcome, Sampling, Test, Verdict
from memory.words import meaning, words_of


def candidate(text: str, sampling: Sampling | None = None, finish_reason: str = "stop") -> Candidate:
    """An answer whose tokens are its words."""
    program = extract(text)
    words = len(text.split())
    return Candidate(
        text=text,
        code=program.code,
        code_start=program.start,
        prompt_ids=(1, 2, 3),
        completion_ids=tuple(range(words)),
        logprobs=(-0.5,) * words,
        prompt_tokens=3,
        completion_tokens=words,
        finish_reason=finish_reason,
        sampling=sampling or Sampling(model="base", temperature=0.0),
    )


def budget_of(*, deadline: float = 0.0, **limits: Any) -> Budget:
    """A budget with every part of the loop switched on that `limits` do not switch off."""
    parts = dict.fromkeys(("repair", "prefix_seeds", "generated_tests", "critic", "memory"), True)
    return Budget(deadline=deadline, **{**parts, **limits})


def program(body: str) -> str:
    """An answer as a chat model writes it."""
    return f"Here it is:\n```python\n{body}\n```\n"


@dataclass
class ScriptedPolicy:
    """Answers with the given texts in order, the last one for ever after; an exception in the script is raised."""

    script: Sequence[str | EngineError]
    delay_s: float = 0.0
    tokens: int | None = 10
    """What `count_tokens` says."""
    calls: list[tuple[list[Message], int, Sampling]] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    """Of each call: how its answers were begun."""
    opinion: tuple[float, ...] | None = None
    """What `weigh` says."""
    continues: bool = True
    closed: int = 0
    """Calls whose iterator was closed before its end."""
    _next: int = 0

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
        """See Policy.sample."""
        self.calls.append((list(messages), n, sampling))
        self.prefixes.append(prefix)
        meter.spend(3, 0)
        finished = False
        try:
            for place in range(n):
                step = self.script[min(self._next, len(self.script) - 1)]
                self._next += 1
                await asyncio.sleep(self.delay_s)
                if isinstance(step, EngineError):
                    raise step
                seed = None if sampling.seed is None else sampling.seed + place
                made = candidate(step, replace(sampling, seed=seed))
                meter.spend(0, made.completion_tokens)
                yield made
            finished = True
        finally:
            self.closed += not finished

    async def weigh(
        self, messages: Sequence[Message], words: Sequence[str], model: str, meter: Meter
    ) -> tuple[float, ...] | None:
        """See Policy.weigh."""
        meter.spend(3, 1)
        return self.opinion

    async def count_tokens(self, messages: Sequence[Message], model: str) -> int | None:
        """See Policy.count_tokens."""
        return self.tokens


@dataclass
class ScriptedCritic:
    """Thinks of a program what the script says of the last text in it that the script knows, else 0.5."""

    script: Mapping[str, float]

    async def judge(self, messages: Sequence[Message], programs: Sequence[Written], meter: Meter) -> list[Opinion]:
        """See Critic.judge."""
        chances = [
            ([chance for text, chance in self.script.items() if text in program.code] or [0.5])[-1]
            for program in programs
        ]
        return [Opinion(passed=one, failed=1 - one, crashes=0.0, invalid=0.0, by="script") for one in chances]


def passes_if(condition: Callable[[str], bool]) -> Callable[[str, Sequence[Test]], Verdict]:
    """A verdict function: all tests pass if the code satisfies the condition, else the first fails."""

    def judge(code: str, tests: Sequence[Test]) -> Verdict:
        good = condition(code)
        cases = tuple(
            CaseResult(
                name=f"test {index}",
                outcome=Outcome.PASSED if good else Outcome.FAILED_TEST,
                expected="2",
                actual="2" if good else "3",
            )
            for index, _ in enumerate(tests)
        )
        if good:
            return Verdict(id="", outcome=Outcome.PASSED, passed=len(tests), total=len(tests), cases=cases)
        if not tests:
            fault = Fault(type="NameError", message="name 'x' is not defined", line=1)
            return Verdict(id="", outcome=Outcome.RUNTIME_ERROR, passed=0, total=0, error=fault)
        return Verdict(id="", outcome=Outcome.FAILED_TEST, passed=0, total=len(tests), cases=cases)

    return judge


@dataclass
class ScriptedSandbox:
    """Judges with a function instead of running anything."""

    judge: Callable[[str, Sequence[Test]], Verdict]
    delay_s: float = 0.0
    runs: list[str] = field(default_factory=list)
    preludes: list[str] = field(default_factory=list)
    owners: list[str] = field(default_factory=list)
    cancelled: int = 0
    waiting: int = 0
    isolation: Isolation = field(default_factory=lambda: Isolation(tier="none", features=(), missing=()))

    async def run(
        self,
        code: str,
        tests: Sequence[Test],
        *,
        entry_point: str | None = None,
        prelude: str = "",
        limits: Limits | None = None,
        run_id: str = "",
        owner: str = "",
        flaky_check: bool = False,
        language: str = "python",
    ) -> Verdict:
        """See Sandbox.run."""
        self.runs.append(code)
        self.preludes.append(prelude)
        self.owners.append(owner)
        try:
            await asyncio.sleep(self.delay_s)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return self.judge(code, tests)

    async def aclose(self) -> None:
        """Nothing to close."""


@dataclass
class HashingEmbedder:
    """Texts with the same words have the same vector; each word is a direction of its own, nearly."""

    name: str = "hashing"
    dimensions: int = 256
    broken: bool = False
    """Every call raises EmbedderUnavailable."""
    embedded: int = 0
    """Texts so far."""

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """See Embedder.embed."""
        if self.broken:
            raise EmbedderUnavailable("the model is broken")
        self.embedded += len(texts)
        return [self._vector(text) for text in texts]

    async def aclose(self) -> None:
        """Nothing to let go of."""

    def _vector(self, text: str) -> Vector:
        total = np.full(self.dimensions, 1e-6, dtype=np.float32)
        for word in words_of([text]):
            seed = int.from_bytes(blake2b(f"{self.name} {word}".encode(), digest_size=8).digest())
            total += np.random.default_rng(seed).normal(size=self.dimensions).astype(np.float32)
        return np.asarray(total / np.linalg.norm(total), dtype=np.float32)


@dataclass
class DictExperienceStore:
    """`ExperienceStore` in a dictionary: exact search, forgotten with the process."""

    embedder: Embedder = field(default_factory=HashingEmbedder)
    floor: float = 0.35
    kept: dict[str, Experience] = field(default_factory=dict)
    usage: dict[str, Usage] = field(default_factory=dict)
    _vectors: dict[str, Vector] = field(default_factory=dict)

    async def add(self, experiences: Sequence[Experience]) -> int:
        """See ExperienceStore.add."""
        before = len(self.kept)
        for experience in experiences:
            if experience.id not in self.kept and _sameness(experience) not in map(_sameness, self.kept.values()):
                [self._vectors[experience.id]] = await self._embed(meaning(experience))
                self.kept[experience.id] = experience
        return len(self.kept) - before

    async def near(self, query: Query) -> Sequence[Recalled]:
        """See ExperienceStore.near."""
        [vector] = await self._embed(query.text)
        words = set(words_of(query.words))
        hits = []
        for experience in self.kept.values():
            similarity = float(self._vectors[experience.id] @ vector)
            if (
                (experience.tenant, experience.kind) == (query.tenant, query.kind)
                and query.error in (None, experience.error)
                and query.without_problem != experience.problem
                and similarity >= self.floor
            ):
                usage = self.usage.get(experience.id, Usage())
                shared = len(words & set(words_of([experience.signature, meaning(experience)])))
                rank = (similarity + 0.01 * shared) * min(1.0, 2 * (usage.helped + 1) / (usage.shown + 2))
                hits.append(Recalled(experience=experience, similarity=similarity, rank=rank, usage=usage))
        best: dict[str, Recalled] = {}
        for hit in sorted(hits, key=lambda hit: -hit.rank):
            best.setdefault(hit.experience.problem, hit)
        return list(best.values())[: query.limit]

    async def credit(self, ids: Sequence[str], *, helped: bool) -> None:
        """See ExperienceStore.credit."""
        for id_ in ids:
            if id_ in self.kept:
                before = self.usage.get(id_, Usage())
                self.usage[id_] = Usage(shown=before.shown + 1, helped=before.helped + helped)

    async def withdraw(self, selection: Selection) -> int:
        """See ExperienceStore.withdraw."""
        return await self.purge(selection)

    async def purge(self, selection: Selection) -> int:
        """See ExperienceStore.purge."""
        gone = [experience.id async for experience in self.every(selection)]
        for id_ in gone:
            del self.kept[id_], self._vectors[id_]
            self.usage.pop(id_, None)
        return len(gone)

    async def every(self, selection: Selection) -> AsyncIterator[Experience]:
        """See ExperienceStore.every."""
        for experience in sorted(self.kept.values(), key=lambda one: one.created):
            if (
                selection.tenant in (None, experience.tenant)
                and (selection.ids is None or experience.id in selection.ids)
                and selection.trajectory_id in (None, experience.trajectory_id)
                and (selection.since is None or experience.created >= selection.since)
                and (selection.until is None or experience.created < selection.until)
            ):
                yield experience

    async def stats(self, tenant: str | None = None) -> Stats:
        """See ExperienceStore.stats."""
        kept = [experience async for experience in self.every(Selection(tenant=tenant))]
        usage = [self.usage.get(experience.id, Usage()) for experience in kept]
        kinds = [experience.kind for experience in kept]
        return Stats(
            solutions=kinds.count("solution"),
            lessons=kinds.count("lesson"),
            tenants=len({experience.tenant for experience in kept}),
            shown=sum(one.shown for one in usage),
            helped=sum(one.helped for one in usage),
            disk_bytes=0,
            model=self.embedder.name,
        )

    async def aclose(self) -> None:
        """Nothing to close."""

    async def _embed(self, text: str) -> list[Vector]:
        try:
            return await self.embedder.embed([text])
        except EmbedderUnavailable as error:
            raise StoreUnavailable(str(error)) from error


def _sameness(experience: Experience) -> tuple[str, ...]:
    return experience.tenant, experience.kind, experience.problem, program_digest(experience)
