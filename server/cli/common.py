"""What several commands share: their failures, a server's address, its error messages."""

from __future__ import annotations

from typing import Annotated

import httpx
import typer

DEFAULT_URL = "http://127.0.0.1:8000"

Url = Annotated[str, typer.Option(help="Address of a running Burnish server.")]
ApiKey = Annotated[str | None, typer.Option(envvar="BURNISH_API_KEY", help="API key, if the server has keys.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


class CommandError(Exception):
    """The command failed; `status` is its exit status."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


def auth(api_key: str | None) -> dict[str, str]:
    """Request headers for the key."""
    return {"authorization": f"Bearer {api_key}"} if api_key else {}


def unreachable(url: str, error: httpx.HTTPError) -> CommandError:
    """No server answers at `url`."""
    return CommandError(f"no Burnish server answers at {url} ({type(error).__name__}); start one with `make serve`")


def refused(response: httpx.Response) -> CommandError:
    """The server answered with an error."""
    try:
        message = response.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = response.text[:500]
    return CommandError(f"the server answered {response.status_code}: {message}")
