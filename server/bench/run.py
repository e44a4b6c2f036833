"""A benchmark run: each problem once per mode, some at a time, judged where the hidden tests are."""

from __future__ import annotations

import asyncio
import hashlib
import os
import platform
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent.errors import AgentError
from agent.extract import extract
from agent.sandbox.contract import Sandbox
from memory.records import Outcome, Problem
from server.bench.client import REFINED_MODEL, BenchClient, Question, Reply, ServerError
from server.bench.ladder import LADDER
from server.bench.report import summary
from server.bench.rows import Row
from server.bench.stripping import stripped

RESULT_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchSettings:
    """What a run measures and how."""

    file: str
    modes: tuple[str, ...] = ("base", "refined")
    """`base`, `refined`, a rung of the ladder, or a model that the server lists."""
    limit: int | None = None
    seed: int | None = None
    """None: requests start from seed 0 and problems keep the file's order."""
    url: str = "http://127.0.0.1:8000"
    concurrency: int = 8
    deadline_s: float = 600.0
    max_tokens: int = 1024
    max_candidates: int | None = None
    """Programs per refined answer; None is the server's own number."""
    memory: bool = False
    """Whether refined answers may use and fill the server's long-term memory."""
    without_examples: bool = False
    """Whether the examples are taken out of the statements before they are asked."""


@dataclass(frozen=True, slots=True)
class Task:
    """A problem with its place in the file, which varies the seed of its requests."""

    index: int
    problem: Problem


class ModeError(Exception):
    """A mode that is neither base nor refined nor a model of the server."""


def choose(problems: Sequence[Problem], limit: int | None, seed: int | None) -> list[Task]:
    """The problems to ask: those with hidden tests, shuffled if a seed is given, then cut to the limit."""
    tasks = [Task(index, problem) for index, problem in enumerate(problems) if problem.hidden]
    if seed is not None:
        random.Random(seed).shuffle(tasks)
    return tasks[:limit]


def model_of(mode: str, models: Sequence[str]) -> str:
    """The model that a mode asks. Raises ModeError.

    base: the first listed model that is not the refined one, which a Burnish server lists second.
    """
    if mode == "refined" or mode in LADDER:
        wanted = [model for model in models if model == REFINED_MODEL]
    elif mode == "base":
        wanted = [model for model in models if model != REFINED_MODEL]
    else:
        wanted = [model for model in models if model == mode]
    if not wanted:
        raise ModeError(f"the server has no model for mode {mode!r}; it lists {', '.join(models) or 'none'}")
    return wanted[0]


def identity(settings: BenchSettings, problems: Iterable[Problem], models: dict[str, str]) -> dict[str, Any]:
    """What rows of a run must have in common to stand in one result."""
    digest = hashlib.sha256()
    for problem in problems:
        digest.update(repr((problem.id, problem.statement, problem.hidden)).encode())
    return {
        "version": RESULT_VERSION,
        "problems": digest.hexdigest(),
        "seed": settings.seed,
        "deadline_s": settings.deadline_s,
        "max_tokens": settings.max_tokens,
        "max_candidates": settings.max_candidates,
        "memory": settings.memory,
        "without_examples": settings.without_examples,
        "base_model": models.get("base"),
    }


async def measure(
    mode: str,
    model: str,
    tasks: Sequence[Task],
    *,
    client: BenchClient,
    sandbox: Sandbox,
    settings: BenchSettings,
    keep: Callable[[Row], None],
) -> None:
    """Ask and judge every task, `settings.concurrency` at a time; each row goes to `keep` when it is complete."""
    session, started = time.time(), time.perf_counter()
    waiting = iter(tasks)
    options = _options(mode, settings) if model == REFINED_MODEL else None

    async def work() -> None:
        for task in waiting:
            question = Question(
                model=model,
                statement=stripped(task.problem) if settings.without_examples else task.problem.statement,
                seed=(settings.seed or 0) + task.index,
                max_tokens=settings.max_tokens,
                options=options,
            )
            row = await _row(mode, task.problem, question, client, sandbox)
            keep(replace(row, session=session, at_seconds=time.perf_counter() - started))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(settings.concurrency, len(tasks))):
                group.create_task(work())
    except ExceptionGroup as failures:  # only keeping a row can fail, and then for every worker in the same way
        raise failures.exceptions[0] from failures


def _options(mode: str, settings: BenchSettings) -> dict[str, Any]:
    options: dict[str, Any] = {
        "deadline_s": settings.deadline_s,
        "memory": settings.memory,
        **LADDER.get(mode, {}),
    }
    if settings.max_candidates is not None:
        options["max_candidates"] = settings.max_candidates
    return options


async def _row(mode: str, problem: Problem, question: Question, client: BenchClient, sandbox: Sandbox) -> Row:
    try:
        reply = await client.ask(question)
    except ServerError as error:
        return Row(mode=mode, task_id=problem.id, error=str(error))
    row = _answered(mode, problem, reply)
    try:
        verdict = await sandbox.run(
            row.code,
            problem.hidden,
            entry_point=problem.entry_point,
            prelude=problem.prelude,
            limits=problem.limits,
            run_id=f"{mode} {problem.id}",
        )
    except AgentError as error:
        return replace(row, error=f"{type(error).__name__}: {error}")
    detail = f"{verdict.error.type}: {verdict.error.message}"[:300] if verdict.error else ""
    if verdict.outcome is Outcome.SANDBOX_ERROR:
        return replace(row, outcome=verdict.outcome, error=f"sandbox_error: {detail or verdict.stderr[:300]}")
    return replace(row, passed=verdict.outcome is Outcome.PASSED, outcome=verdict.outcome, detail=detail)


def _answered(mode: str, problem: Problem, reply: Reply) -> Row:
    own = reply.burnish
    tokens = own.get("tokens") or {}
    return Row(
        mode=mode,
        task_id=problem.id,
        verdict=own.get("verdict"),
        tests=own.get("tests") or {},
        candidates=own.get("candidates", 1),
        rounds=own.get("rounds", 0),
        prompt_tokens=tokens.get("prompt", reply.prompt_tokens),
        completion_tokens=tokens.get("completion", reply.completion_tokens),
        answer_tokens=reply.completion_tokens,
        request_seconds=reply.seconds,
        seconds=own.get("seconds") or {},
        finish_reason=reply.finish_reason,
        model_version=own.get("model_version", ""),
        trajectory_id=own.get("trajectory_id", ""),
        code=extract(reply.text, problem.entry_point).code,
    )


def result(
    settings: BenchSettings,
    tasks: Sequence[Task],
    rows: Sequence[Row],
    *,
    server: dict[str, Any],
    sandbox_tier: str,
    skipped: Sequence[str],
) -> dict[str, Any]:
    """The content of RESULT.json; of several rows for one problem and mode the last one counts."""
    order = {task.problem.id: place for place, task in enumerate(tasks)}
    modes = {mode: place for place, mode in enumerate(settings.modes)}
    latest = {(row.mode, row.task_id): row for row in rows if row.mode in modes and row.task_id in order}
    kept = sorted(latest.values(), key=lambda row: (modes[row.mode], order[row.task_id]))
    return {
        "version": RESULT_VERSION,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": asdict(settings),
        "seed": settings.seed,
        "machine": machine(),
        "server": server,
        "sandbox_tier": sandbox_tier,
        "without_tests": list(skipped),
        **summary(kept, settings.modes),
        "rows": [asdict(row) for row in kept],
    }


def machine() -> dict[str, Any]:
    """The machine this process runs on; the server may run on another."""
    cpu = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        models = [line.partition(":")[2] for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        cpu = models[0].strip() if models else cpu
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "platform": platform.platform(),
        "python": platform.python_version(),
    }
