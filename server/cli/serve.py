"""`burnish serve`: the engine and the server, until Ctrl-C."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated, Any

import typer
import uvicorn

from server.app import create_app
from server.cli.common import CommandError
from server.logs import configure
from server.settings import load_settings


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
    uvicorn.run(
        create_app(settings),
        host=settings.http.host,
        port=settings.http.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=int(settings.http.shutdown_s),
    )


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
