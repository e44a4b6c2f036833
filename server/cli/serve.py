"""`burnish serve`: the engine and the server, until Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path
from typing import Annotated, Any

import typer
import uvicorn
from fastapi import FastAPI

from server.app import create_app
from server.cli.common import CommandError
from server.cli.progress import shown
from server.engine.errors import LocalEngineError
from server.engine.process import configured_model
from server.errors import ApiError
from server.logs import configure
from server.parts import Parts
from server.settings import Settings, load_settings


def serve(
    model: Annotated[str | None, typer.Option(help="Model name, local folder or GGUF file.")] = None,
    engine_url: Annotated[str | None, typer.Option(help="Use this OpenAI-compatible engine instead.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to bind to.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to bind to.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where models, databases and logs live.")] = None,
) -> None:
    """Start the engine (unless --engine-url names one) and the server on 127.0.0.1:8000."""
    given: dict[str, Any] = {
        "data_dir": data_dir,
        "engine": {"model": model, "url": engine_url},
        "http": {"host": host, "port": port},
    }
    settings = load_settings(_present(given))
    configure()
    _check_port(settings.http.host, settings.http.port)
    if settings.engine.url is None:
        _fetch_model(settings)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run(settings))


async def _run(settings: Settings) -> None:
    app = create_app(settings)
    http = settings.http
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host=http.host,
            port=http.port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=int(http.shutdown_s),
        )
    )
    announcing = asyncio.create_task(_announce(server, app, f"http://{http.host}:{http.port}"))
    try:
        await server.serve()
    finally:
        announcing.cancel()
        await asyncio.gather(announcing, return_exceptions=True)
    if not server.started:
        raise CommandError("the server did not start; the log above says why")


async def _announce(server: uvicorn.Server, app: FastAPI, address: str) -> None:
    """Tell the person at the terminal what to expect."""
    while not server.started:  # noqa: ASYNC110 (uvicorn has no event for it)
        await asyncio.sleep(0.05)
    parts: Parts = app.state.parts
    typer.echo(f"Burnish listens on {address}; the engine is starting, which takes about a minute on a CPU")
    while True:
        try:
            base = await parts.link.base()
        except ApiError:
            await asyncio.sleep(1.0)
            continue
        isolation = parts.sandbox.isolation.tier if parts.sandbox else "none: see `burnish doctor`"
        typer.echo(f"Ready: {address}/v1, model `burnish` over {base.name}, sandbox {isolation}. Ctrl-C stops it.")
        return


def _fetch_model(settings: Settings) -> None:
    """Have the model on disk, with a progress bar, before the engine wants it."""
    try:
        with shown() as report:
            configured_model(settings.engine, settings.data_dir / "models", report)
    except LocalEngineError as error:
        raise CommandError(str(error)) from error


def _present(given: dict[str, Any]) -> dict[str, Any]:
    """The options that were set, nested as the settings are."""
    kept: dict[str, Any] = {}
    for key, value in given.items():
        inner = _present(value) if isinstance(value, dict) else value
        if inner not in (None, {}):
            kept[key] = inner
    return kept


def _check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CommandError(f"cannot listen on {host}:{port}: {error.strerror}; choose another --port") from error
