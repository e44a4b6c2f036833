"""`burnish adapters`: versions of the served model on a running server: list, publish, promote, roll back."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, aclosing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import httpx
import typer

from agent.adapters import Kind, kind_of
from agent.calibration import Calibration
from agent.critic import VerdictTokenCritic
from agent.errors import AdapterError, AgentError, IsolationUnavailable
from agent.evaluation import Answer, Answers, GateReport, Question, evaluate, gate_report, ranking, solved
from agent.policy import EnginePolicy
from agent.problems import ProblemFileError, load
from agent.sandbox.pool import WorkerPool
from agent.settings import SandboxSettings
from memory.records import Problem
from server.cli.common import DEFAULT_URL, ApiKey, CommandError, Json, Url, auth, refused, unreachable
from server.settings import load_settings

app = typer.Typer(no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="A version: actor@N or critic@N.")]
_RANKED_SAMPLES = 8
"""Answers among which a critic has to choose."""
_WAIT_S = 900.0
"""Loading and proving, behind whatever the engine is doing."""


@app.command("list")
def list_(url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: Json = False) -> None:
    """The versions that the server has on disk, and what became of each."""
    listing = _asked("GET", url, "", api_key)
    if as_json:
        print(json.dumps(listing))
        return
    print(f"base: {listing['base']}")
    for entry in listing["data"]:
        card = entry["card"]
        made = time.strftime("%F %T", time.localtime(card["created"])) if card["created"] else "?"
        origin = " ".join(part for part in (card["algorithm"], card["run"], f"step {card['step']}") if part)
        print(f"{entry['name']:<12} {entry['state']:<10} {made}  {origin}, from {card['parent'] or 'the base model'}")
        if entry["reason"]:
            print(f"{'':<12} {entry['reason']}")


@app.command()
def publish(
    name: Name,
    problems: Annotated[
        Path | None,
        typer.Option(exists=True, help="Held-out problems with hidden tests; these stay in this command."),
    ] = None,
    gate: Annotated[bool, typer.Option(help="--no-gate stops when the version is proved.")] = True,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N problems.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the requests.")] = 0,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer.")] = 1024,
    concurrency: Annotated[int, typer.Option(min=1, help="Problems asked at the same time.")] = 8,
    answers: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Where judged answers are kept; default evaluations.jsonl in the data dir."),
    ] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Load a version into the engine, prove that the engine answers with it, measure it against the live version on
    held-out problems, and make it live if it is better. One that was stopped goes on where it was.

    Exit status 1 if it is not proved or the gate refuses it; then nothing has changed for clients.
    """
    kind = _kind(name)
    if gate and problems is None:
        raise typer.BadParameter("give --problems FILE for the gate, or --no-gate", param_hint="--problems")
    entry = _asked("POST", url, f"/{name}/load", api_key)
    if not as_json:
        print(f"{name} is loaded and proved: {_proof(entry)}", file=sys.stderr)
    if gate and problems is not None:
        question = Question(seed=seed, max_tokens=max_tokens, concurrency=concurrency)
        report = _measured(name, kind, _problems(problems, limit), question, answers, url, api_key)
        entry = _asked("POST", url, f"/{name}/promote", api_key, json=asdict(report))
    _show(entry, as_json)


@app.command()
def promote(
    name: Name,
    report: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="The gate's report, by `training evaluate`.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Leave the gate out; the proof is still needed.")] = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Make a proved version live."""
    _kind(name)
    if force == (report is not None):
        raise typer.BadParameter("give --report FILE or --force")
    body: dict[str, Any] = {"force": True}
    if report is not None:
        try:
            body = json.loads(report.read_text())
        except ValueError as error:
            raise CommandError(f"{report} is not JSON: {error}", status=2) from error
    _asked("POST", url, f"/{name}/load", api_key)
    _show(_asked("POST", url, f"/{name}/promote", api_key, json=body), as_json)


@app.command()
def rollback(
    kind: Annotated[str, typer.Argument(help="actor or critic.")] = "actor",
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Go back to the version that was live before; it is still loaded."""
    if kind not in ("actor", "critic"):
        raise typer.BadParameter("is actor or critic", param_hint="KIND")
    done = _asked("POST", url, "/rollback", api_key, json={"kind": kind})
    print(json.dumps(done) if as_json else f"{done['rolled_back']} is rolled back; {done['now']} answers now")


def _measured(
    name: str,
    kind: Kind,
    problems: list[Problem],
    question: Question,
    kept: Path | None,
    url: str,
    api_key: str | None,
) -> GateReport:
    """The gate's report. Raises CommandError."""
    listing = _asked("GET", url, "", api_key)
    against = listing["live"][kind] or listing["base"]
    actor = listing["live"]["actor"] or listing["base"]
    calibrations = {
        entry["name"]: Calibration(**entry["card"]["calibration"])
        for entry in listing["data"]
        if entry["card"].get("calibration")
    }
    file = kept or load_settings().data_dir / "evaluations.jsonl"
    try:
        return asyncio.run(_gate(name, kind, against, actor, calibrations, problems, question, file, url, api_key))
    except IsolationUnavailable as error:
        raise CommandError(str(error)) from error
    except AgentError as error:
        raise CommandError(f"{error}; judged answers are kept in {file}, the same command goes on") from error
    except KeyboardInterrupt:
        raise CommandError(f"stopped; judged answers are kept in {file}, the same command goes on") from None


async def _gate(
    name: str,
    kind: Kind,
    against: str,
    actor: str,
    calibrations: Mapping[str, Calibration],
    problems: list[Problem],
    question: Question,
    file: Path,
    url: str,
    api_key: str | None,
) -> GateReport:
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(
            httpx.AsyncClient(
                base_url=url.rstrip("/").removesuffix("/v1"),
                headers=auth(api_key),
                timeout=httpx.Timeout(connect=10.0, read=_WAIT_S, write=30.0, pool=None),
                trust_env=False,
            )
        )
        sandbox = await stack.enter_async_context(aclosing(await WorkerPool.start(SandboxSettings())))
        answers = stack.enter_context(Answers(file))
        policy = EnginePolicy(http, lambda: True)

        async def asked(model: str, question: Question) -> dict[str, list[Answer]]:
            ticker = _Ticker(model, len(problems) * question.samples)
            return await evaluate(policy, sandbox, problems, model, question, answers, told=ticker.tick)

        if kind == "actor":
            old, new = solved(await asked(against, question)), solved(await asked(name, question))
            return gate_report(name, against, problems, new, old)
        several = Question(
            samples=_RANKED_SAMPLES,
            temperature=1.0,
            seed=question.seed,
            max_tokens=question.max_tokens,
            concurrency=question.concurrency,
        )
        made = await asked(actor, several)
        old, new = [
            await ranking(
                problems, made, VerdictTokenCritic(policy, critic, calibrations.get(critic)), question.concurrency
            )
            for critic in (against, name)
        ]
        return gate_report(name, against, problems, new, old, measured="ranked")


class _Ticker:
    """One line per judged answer on standard error."""

    def __init__(self, model: str, total: int) -> None:
        self._model, self._total, self._new, self._passed = model, total, 0, 0

    def tick(self, answer: Answer) -> None:
        self._new += 1
        self._passed += answer.passed
        print(
            f"{self._model} {self._new}/{self._total} {answer.problem} {answer.outcome} ({self._passed} passed)",
            file=sys.stderr,
            flush=True,
        )


def _problems(file: Path, limit: int | None) -> list[Problem]:
    try:
        found = [problem for problem in load(file) if problem.hidden][:limit]
    except ProblemFileError as error:
        raise CommandError(str(error), status=2) from error
    if not found:
        raise CommandError(f"no problem in {file} has hidden tests", status=2)
    return found


def _kind(name: str) -> Literal["actor", "critic"]:
    try:
        return kind_of(name)
    except AdapterError as error:
        raise CommandError(str(error), status=2) from error


def _proof(entry: dict[str, Any]) -> str:
    told = [
        f"the engine shows {proof['share']:.0%} of the change that was trained (noise {proof['noise']:.3f}, "
        f"change {proof['separation']:.3f})"
        for proof in entry["proof"]
    ]
    return "; ".join(told) or "before"


def _show(entry: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(entry))
        return
    gate = entry["gate"] or {}
    print(f"{entry['name']} is {entry['state']}" + (f": {gate['reason']}" if gate.get("reason") else ""))


def _asked(method: str, url: str, path: str, api_key: str | None, **more: Any) -> dict[str, Any]:
    address = f"{url.rstrip('/').removesuffix('/v1')}/burnish/adapters{path}"
    try:
        response = httpx.request(method, address, headers=auth(api_key), timeout=_WAIT_S, trust_env=False, **more)
    except httpx.HTTPError as error:
        raise unreachable(url, error) from error
    if response.is_error:
        raise refused(response)
    return cast(dict[str, Any], response.json())
