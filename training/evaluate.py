"""Versions measured on held-out problems: pass@k of one, or the gate's report of two, by an engine or a Burnish server.

    python -m training evaluate held_out.jsonl --model actor@3 --against actor@2 --out report.json
    burnish adapters promote actor@3 --report report.json

Both are asked greedily (T = 0), every answer is judged with the hidden tests in this process, and the report pairs the
results problem by problem. What is measured and how stands in agent/evaluation.py, which `burnish adapters publish`
uses too.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from agent.errors import AgentError
from agent.evaluation import Answer, Answers, Question, evaluate, gate_report, mean_pass_at_k, solved
from agent.policy import EnginePolicy, Policy
from agent.problems import load
from agent.sandbox.contract import Sandbox
from agent.sandbox.pool import WorkerPool
from agent.settings import SandboxSettings
from agent.statistics import pass_at_1
from memory.records import Problem
from training.console import standard_error
from training.endpoint import connected, named
from training.errors import TrainingError
from training.places import data_dir_of


async def compare(
    policy: Policy,
    sandbox: Sandbox,
    problems: Sequence[Problem],
    candidate: str,
    against: str,
    question: Question,
    answers: Answers,
    console: Console,
) -> dict[str, Any]:
    """The gate's report as plain data. Raises EngineError."""
    made = [
        await _asked(policy, sandbox, problems, model, question, answers, console) for model in (against, candidate)
    ]
    old, new = map(solved, made)
    report = gate_report(candidate, against, problems, new, old)
    if report.results:
        console.print(f"{candidate}: {report.summary()}")
    return asdict(report)


async def measure(
    policy: Policy,
    sandbox: Sandbox,
    problems: Sequence[Problem],
    model: str,
    question: Question,
    ks: Sequence[int],
    answers: Answers,
    console: Console,
) -> dict[str, Any]:
    """pass@1 with its interval over the first answers, and pass@k for every k up to the number of samples. Raises
    EngineError."""
    made = await _asked(policy, sandbox, problems, model, question, answers, console)
    first = solved(made)
    interval = pass_at_1(sum(first.values()), len(first))
    return {
        "model": model,
        "problems": len(first),
        "first": asdict(interval),
        "pass_at": {str(k): mean_pass_at_k(made, k) for k in ks if k <= question.samples},
        "left_out": [problem.id for problem in problems if problem.hidden and problem.id not in first],
    }


def command(
    file: Annotated[Path, typer.Argument(exists=True, help="Held-out problems with hidden tests.")],
    model: Annotated[str | None, typer.Option(help="Version as /v1/models lists it; the base model's.")] = None,
    against: Annotated[str | None, typer.Option(help="Compare with this version, for the gate.")] = None,
    url: Annotated[str, typer.Option(help="A vLLM engine, or a Burnish server over one.")] = "http://127.0.0.1:8000",
    samples: Annotated[int, typer.Option(min=1, help="Answers per problem, for pass@k.")] = 1,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 is greedy; pass@k needs more.")] = 0.0,
    k: Annotated[list[int] | None, typer.Option(min=1, help="May be given several times.")] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer.")] = 1024,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N problems.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Problems asked at the same time.")] = 8,
    answers: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Where judged answers are kept; default in the data dir.")
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Holds evaluations.jsonl.")] = None,
    out: Annotated[Path | None, typer.Option(dir_okay=False, help="Write the result here too.")] = None,
    api_key: Annotated[str | None, typer.Option(envvar="BURNISH_API_KEY", help="Key of the server.")] = None,
) -> None:
    """Measure a version, or with --against make the gate's report. A run that was stopped goes on where it was."""
    console = standard_error()
    question = Question(
        samples=samples, temperature=temperature, seed=seed, max_tokens=max_tokens, concurrency=concurrency
    )
    kept = answers or data_dir_of(data_dir) / "evaluations.jsonl"
    try:
        problems = [problem for problem in load(file) if problem.hidden][:limit]
        result = asyncio.run(_run(problems, model, against, question, k or [1], kept, url, api_key, console))
    except (AgentError, TrainingError, OSError) as error:
        console.print(f"{error}\nJudged answers are kept in {kept}; the same command goes on.")
        raise typer.Exit(1) from error
    text = json.dumps(result, indent=1)
    if out is not None:
        out.write_text(text + "\n")
    typer.echo(text)


async def _run(
    problems: Sequence[Problem],
    model: str | None,
    against: str | None,
    question: Question,
    ks: Sequence[int],
    kept: Path,
    url: str,
    api_key: str | None,
    console: Console,
) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(connected(url, api_key))
        version = await named(http, model)
        sandbox = await stack.enter_async_context(aclosing(await WorkerPool.start(SandboxSettings())))
        answers = stack.enter_context(Answers(kept))
        policy = EnginePolicy(http, lambda: True)
        if against is None:
            return await measure(policy, sandbox, problems, version, question, ks, answers, console)
        other = await named(http, against)
        return await compare(policy, sandbox, problems, version, other, question, answers, console)


async def _asked(
    policy: Policy,
    sandbox: Sandbox,
    problems: Sequence[Problem],
    model: str,
    question: Question,
    answers: Answers,
    console: Console,
) -> dict[str, list[Answer]]:
    new = 0

    def told(answer: Answer) -> None:
        nonlocal new
        new += 1
        console.print(f"{model} {new} {answer.problem} {answer.outcome}")

    return await evaluate(policy, sandbox, problems, model, question, answers, told=told)


if __name__ == "__main__":
    typer.run(command)
