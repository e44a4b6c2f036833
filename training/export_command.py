"""The command that exports."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from training.console import standard_error
from training.export import export
from training.options import Base, BaseName, Config, DataDir, Given, StoreUrl, failures, say, settings_of
from training.places import store_of


def command(
    file: Annotated[Path, typer.Argument(help="Parquet file to write; the held-out part stands beside it.")],
    base: Base,
    base_name: BaseName,
    config: Config = None,
    given: Given = None,
    data_dir: DataDir = None,
    store_url: StoreUrl = None,
) -> None:
    """Write kept attempts as Parquet, in the columns that other trainers read; `reward` is the adaptive one."""
    console = standard_error()
    with failures(console):
        settings = settings_of(config, given, base_name, {})
        found = asyncio.run(export(file, base, store_of(data_dir, store_url), settings.data))
        say(
            console,
            f"{len(found.train)} samples, {len(found.held_out)} held out, refused: {dict(found.counts.refused)}",
        )
