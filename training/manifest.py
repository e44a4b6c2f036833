"""What a run was made from, as a file beside it: data, code, settings, base model, libraries, machine."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agent.adapters import replace_text
from memory.wire import from_json, to_json
from training.errors import BadSettings, CheckpointError

NAME = "manifest.json"
_LIBRARIES = ("torch", "transformers", "peft", "safetensors", "numpy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Written once, when the run begins."""

    kind: str
    """What is trained: policy or critic."""
    base: str
    """Folder of the base model."""
    base_digest: str
    data: str
    """Digest of the dataset."""
    settings: Mapping[str, Any]
    """All settings of the trainer, defaults included."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What is worth knowing of the data: counts of samples, kept and refused."""
    code: str
    """Commit, with + for uncommitted changes; the package's version where there is no repository."""
    libraries: Mapping[str, str]
    python: str
    machine: str
    threads: int
    command: tuple[str, ...]
    created: str
    """UTC."""


def describe(
    kind: str, base: Path, digest: str, data: str, settings: Mapping[str, Any], facts: Mapping[str, Any], threads: int
) -> Manifest:
    """Of a run that begins now, here."""
    return Manifest(
        kind=kind,
        base=str(base),
        base_digest=digest,
        data=data,
        settings=settings,
        facts=facts,
        code=code_version(),
        libraries={name: metadata.version(name) for name in _LIBRARIES},
        python=platform.python_version(),
        machine=f"{platform.node()}, {os.cpu_count()} cores, {platform.platform()}",
        threads=threads,
        command=tuple(sys.argv),
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )


def write(run: Path, manifest: Manifest) -> None:
    """Into a run folder, at once or not at all. Raises CheckpointError if the disk does not take it."""
    try:
        replace_text(run / NAME, json.dumps(json.loads(to_json(manifest)), indent=1) + "\n")
    except OSError as error:
        raise CheckpointError(f"{run / NAME} cannot be written ({error}); give a folder that can be written") from error


def read(run: Path) -> Manifest:
    """Of a run folder. Raises CheckpointError if there is none, or it cannot be read."""
    try:
        return from_json(Manifest, (run / NAME).read_text())
    except (OSError, ValueError, ValidationError) as error:
        raise CheckpointError(f"{run} is no run folder: {NAME} cannot be read ({error})") from error


def base_digest(folder: Path) -> str:
    """`sha256:…` of a model folder: the one in its COMPLETE, else the same over names and contents of its files, as
    the server makes it. Raises BadSettings if it is no such folder."""
    try:
        if (folder / "COMPLETE").is_file():
            return str(json.loads((folder / "COMPLETE").read_text())["digest"])
        files = sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
        listing = ""
        for file in files:
            with file.open("rb") as data:
                listing += f"{hashlib.file_digest(data, 'sha256').hexdigest()}  {file.name}\n"
    except (OSError, ValueError, KeyError) as error:
        raise BadSettings(f"{folder} is no model's folder ({error}); give the folder that the engine serves") from error
    return f"sha256:{hashlib.sha256(listing.encode()).hexdigest()}"


def code_version() -> str:
    """Commit of the repository that this file is in, or the version of the package."""
    here = Path(__file__).parent
    git = ["git", "-C", str(here)]
    try:
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True)
        changed = subprocess.run([*git, "status", "--porcelain", "."], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return metadata.version("burnish")
    return commit.stdout.strip() + ("+" if changed.stdout.strip() else "")
