"""`burnish models`: fetch and list the models on this machine."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from server.cli.common import CommandError, Json
from server.cli.progress import shown
from server.engine.errors import LocalEngineError
from server.engine.library import LocalModel, ensure_model, list_models
from server.settings import Settings, load_settings

app = typer.Typer(no_args_is_help=True)

DataDir = Annotated[Path | None, typer.Option(help="Where models, databases and logs live.")]


@app.command()
def pull(
    name: Annotated[str | None, typer.Argument(help="Model name, local folder or GGUF file.")] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Fetch a model, by default the one that is served, and convert it if need be."""
    settings = _settings(data_dir)
    try:
        with shown() as report:
            model = ensure_model(
                name or settings.engine.model, settings.data_dir / "models", settings.engine.interpreter(), report
            )
    except LocalEngineError as error:
        raise CommandError(str(error)) from error
    print(json.dumps(_facts(model)) if as_json else f"{model.name}: {model.path}")


@app.command("list")
def list_(data_dir: DataDir = None, as_json: Json = False) -> None:
    """The models that are here and whole."""
    models = list_models(_settings(data_dir).data_dir / "models")
    if as_json:
        print(json.dumps([_facts(model) for model in models]))
        return
    for model in models:
        print(f"{model.name}\n    {model.context_length} tokens of context, from {model.source}\n    {model.path}")


def _settings(data_dir: Path | None) -> Settings:
    return load_settings({"data_dir": data_dir} if data_dir is not None else None)


def _facts(model: LocalModel) -> dict[str, object]:
    return {**asdict(model), "path": str(model.path)}
