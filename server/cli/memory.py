"""`burnish memory`: look at what is remembered, take it out, put experiences in, have it forgotten.

Without --url the commands work on the data directory and see every tenant; a running server has it open, so there they
need --url, and see what the key's owner may see.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import httpx
import typer
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from agent.errors import IsolationUnavailable
from agent.sandbox.contract import Sandbox
from agent.sandbox.pool import WorkerPool
from memory.errors import MemoryFailure
from memory.experience import Selection
from memory.recent import Recent
from memory.trajectories import SqlTrajectoryStore
from memory.wire import to_json, to_plain
from server.admission import LOCAL
from server.cli.common import ApiKey, CommandError, Json, auth, refused, unreachable
from server.memories import Memories
from server.parts import open_experiences
from server.settings import Settings, load_settings

app = typer.Typer(no_args_is_help=True)

Result = TypeVar("Result")
DataDir = Annotated[Path | None, typer.Option(help="Where memory lives; the server must not be running on it.")]
Server = Annotated[str | None, typer.Option("--url", help="Ask the Burnish server at this address instead.")]
Tenant = Annotated[str, typer.Option(help="Whose memory; ignored with --url, where the key says it.")]
Kind = Annotated[str, typer.Option(help="solution or lesson.")]


@app.command()
def stats(data_dir: DataDir = None, url: Server = None, api_key: ApiKey = None, as_json: Json = False) -> None:
    """How much is remembered."""
    if url:
        facts = _asked("GET", url, "", api_key)
    else:
        facts = asdict(_local(data_dir, lambda memories, _: memories.stats(None)))
    if as_json:
        print(json.dumps(facts))
    else:
        print("\n".join(f"{name.replace('_', ' ')}: {value}" for name, value in facts.items()))


@app.command()
def search(
    text: Annotated[str, typer.Argument(help="A task, or for lessons an error.")],
    kind: Kind = "solution",
    limit: Annotated[int, typer.Option(min=1, max=100)] = 8,
    tenant: Tenant = LOCAL,
    data_dir: DataDir = None,
    url: Server = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """What a request with this text would be reminded of."""
    wanted: Literal["solution", "lesson"] = "lesson" if kind == "lesson" else "solution"
    if kind != wanted:
        raise typer.BadParameter("is solution or lesson", param_hint="--kind")
    if url:
        hits = _asked("GET", url, "/search", api_key, params={"q": text, "kind": kind, "limit": limit})["data"]
    else:
        found = _local(data_dir, lambda memories, _: memories.search(tenant, text, wanted, limit))
        hits = [to_plain(hit) for hit in found]
    if as_json:
        print(json.dumps(hits))
        return
    for hit in hits:
        experience = hit["experience"]
        print(f"{hit['similarity']:.2f}  {experience['gist']}")
        print("\n".join(f"      {line}" for line in (experience["fix"] or experience["code"]).splitlines()))


@app.command()
def export(
    tenant: Annotated[str | None, typer.Option(help="Whose; default everybody's.")] = None,
    data_dir: DataDir = None,
    url: Server = None,
    api_key: ApiKey = None,
) -> None:
    """Print every experience as one line of JSON."""
    if url:
        sys.stdout.write(_answered("GET", url, "/export", api_key).text)
        return

    async def write(memories: Memories, _: Settings) -> None:
        async for experience in memories.exported(Selection(tenant=tenant)):
            print(to_json(experience))

    _local(data_dir, write)


@app.command("import")
def import_(
    file: Annotated[typer.FileText, typer.Argument(help="JSON lines; - is standard input.")],
    trust: Annotated[bool, typer.Option(help="Take programs without tests too.")] = False,
    tenant: Tenant = LOCAL,
    data_dir: DataDir = None,
    url: Server = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Remember exported experiences, or a team's own programs: {"task", "code", "tests"?, "entry_point"?} a line.

    A program must pass its tests here. Exit status 1 if a line was refused; the others are kept.
    """
    lines = list(file)
    if url:
        body = {"lines": lines, "trust": trust}
        facts = _asked("POST", url, "/import", api_key, json=body)
    else:
        facts = asdict(
            _local(data_dir, lambda memories, _: memories.add(tenant, lines, time.time(), trust=trust), runs=True)
        )
    if as_json:
        print(json.dumps(facts))
    else:
        print(f"{facts['added']} remembered, {facts['known']} known already")
        for line in facts["refused"]:
            print(f"line {line['line']} refused: {line['reason']}", file=sys.stderr)
    if facts["refused"]:
        raise typer.Exit(1)


@app.command()
def purge(
    tenant: Annotated[str | None, typer.Option(help="Everything of this tenant.")] = None,
    trajectory: Annotated[str | None, typer.Option(help="What this request left.")] = None,
    since: Annotated[datetime | None, typer.Option(help="From this time (UTC) on.")] = None,
    until: Annotated[datetime | None, typer.Option(help="Before this time (UTC).")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Without any condition: all of it.")] = False,
    data_dir: DataDir = None,
    url: Server = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Forget experiences, trajectories and short-term memory for good, and say how many. All conditions must hold."""
    if not everything and not (tenant or trajectory or since or until):
        raise typer.BadParameter("say what: --tenant, --trajectory, --since, --until, or --all")
    selection = Selection(tenant=tenant, trajectory_id=trajectory, since=_unix(since), until=_unix(until))
    if url:
        body = {"trajectory_id": trajectory, "since": selection.since, "until": selection.until}
        facts = _asked("POST", url, "/purge", api_key, json=body)
    else:
        facts = asdict(_local(data_dir, lambda memories, _: memories.purge(selection)))
    if as_json:
        print(json.dumps(facts))
    else:
        print(f"forgotten: {facts['experiences']} experiences, {facts['trajectories']} trajectories")


def _local(
    data_dir: Path | None, work: Callable[[Memories, Settings], Awaitable[Result]], *, runs: bool = False
) -> Result:
    """Do it on the data directory; `runs` starts a sandbox."""
    settings = load_settings({"data_dir": data_dir} if data_dir is not None else None)

    async def done() -> Result:
        async with AsyncExitStack() as stack:
            settings.data_dir.mkdir(parents=True, exist_ok=True)
            experiences = await stack.enter_async_context(open_experiences(settings))
            trajectories = await SqlTrajectoryStore.open(
                settings.store.url or settings.data_dir / "trajectories.sqlite"
            )
            stack.push_async_callback(trajectories.aclose)
            saver = await stack.enter_async_context(
                AsyncSqliteSaver.from_conn_string(str(settings.data_dir / "checkpoints.sqlite"))
            )
            sandbox: Sandbox | None = None
            if runs:
                sandbox = await WorkerPool.start(settings.sandbox)
                stack.push_async_callback(sandbox.aclose)
            return await work(Memories(experiences, trajectories, Recent(), sandbox, saver.adelete_thread), settings)

    try:
        return asyncio.run(done())
    except MemoryFailure as error:
        raise CommandError(f"{error}; if a server is running on {settings.data_dir}, give its --url") from error
    except IsolationUnavailable as error:
        raise CommandError(str(error)) from error


def _asked(method: str, url: str, path: str, api_key: str | None, **more: Any) -> dict[str, Any]:
    answer: dict[str, Any] = _answered(method, url, path, api_key, **more).json()
    return answer


def _answered(method: str, url: str, path: str, api_key: str | None, **more: Any) -> httpx.Response:
    try:
        response = httpx.request(
            method, f"{url.rstrip('/')}/burnish/memory{path}", headers=auth(api_key), timeout=600.0, **more
        )
    except httpx.HTTPError as error:
        raise unreachable(url, error) from error
    if response.is_error:
        raise refused(response)
    return response


def _unix(given: datetime | None) -> float | None:
    return None if given is None else given.replace(tzinfo=UTC).timestamp()
