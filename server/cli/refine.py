"""`burnish refine`: one refinement in the terminal, with live progress."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from server.cli.common import DEFAULT_URL, ApiKey, CommandError, Json, Url, auth, refused, unreachable

_TIMEOUT = httpx.Timeout(connect=5.0, read=60.0, write=30.0, pool=None)


def refine(
    prompt: Annotated[str, typer.Argument(help="What to write; - reads standard input.")] = "-",
    tests: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Assert lines, a test file, or JSON tests.")
    ] = None,
    deadline: Annotated[float | None, typer.Option(min=0.1, help="Seconds the refinement may take.")] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Ask a running server for a program; progress and verdict go to standard error, the answer to standard output."""
    text = sys.stdin.read() if prompt == "-" else prompt
    if not text.strip():
        raise CommandError("the prompt is empty", status=2)
    options: dict[str, Any] = {}
    if tests is not None:
        options["tests"] = _tests(tests)
    if deadline is not None:
        options["deadline_s"] = deadline
    body = {
        "model": "burnish",
        "messages": [{"role": "user", "content": text}],
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
        "burnish": options,
    }
    answer, result = _ask(url, api_key, body)
    if as_json:
        print(json.dumps({"content": answer, "burnish": result}))
    else:
        print(answer)
        if result is not None:
            tests_seen = result["tests"]
            print(
                f"\n{result['verdict']}: {tests_seen['passed']} of {tests_seen['total']} tests "
                f"({tests_seen['source']}), {result['candidates']} candidates, {result['rounds']} repair rounds, "
                f"{result['seconds']['total']:.1f} s, {result['trajectory_id']}",
                file=sys.stderr,
            )
    if result is not None and result["verdict"] == "failed":
        raise typer.Exit(1)


def _tests(path: Path) -> Any:
    text = path.read_text()
    if path.suffix != ".json":
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise CommandError(f"{path} is not JSON: {error}", status=2) from error


def _ask(url: str, api_key: str | None, body: dict[str, Any]) -> tuple[str, dict[str, Any] | None]:
    pieces: list[str] = []
    result: dict[str, Any] | None = None
    try:
        with (
            httpx.Client(base_url=url, headers=auth(api_key), timeout=_TIMEOUT, trust_env=False) as http,
            http.stream("POST", "/v1/chat/completions", json=body) as response,
        ):
            if response.status_code != 200:
                response.read()
                raise refused(response)
            for line in response.iter_lines():
                if not line.startswith("data: ") or line == "data: [DONE]":
                    continue
                chunk = json.loads(line[6:])
                if "error" in chunk:
                    raise CommandError(chunk["error"]["message"])
                result = chunk.get("burnish", result)
                for choice in chunk["choices"]:
                    delta = choice["delta"]
                    if progress := delta.get("reasoning_content"):
                        print(progress, end="", file=sys.stderr, flush=True)
                    pieces.append(delta.get("content") or "")
    except httpx.HTTPError as error:
        raise unreachable(url, error) from error
    return "".join(pieces), result
