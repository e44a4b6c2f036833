"""The models on this machine: found, or fetched and made into folders that everything here can read.

    models/OWNER/NAME/           config.json, *.safetensors, tokenizer, chat template; COMPLETE is written last
    models/OWNER/.NAME.work/     downloads and the conversion under way; kept after an interruption, gone after success
    models/OWNER/.NAME.lock      one process at a time works on a model

GGUF files are converted to safetensors once. The GGUF and the wheels that carried it are then removed: they can be
downloaded again. A folder that the user names is used where it is.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from server.engine.child import ChildFailed, lines
from server.engine.errors import (
    ConversionFailed,
    EnvironmentMissing,
    ModelError,
    ModelNotFound,
    SourceFailed,
    WrongDigest,
)
from server.engine.sources import Progress, Report, Source, file_digest, sources_of


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model folder that vLLM, transformers and training can read."""

    name: str
    """The name it is served under."""
    path: Path
    source: str
    """Where it came from, for a person."""
    digest: str
    """`sha256:…` over the names and contents of all files."""
    context_length: int
    """Tokens."""


class Convert(Protocol):
    """Turns a GGUF file into a model folder."""

    def __call__(self, gguf: Path, folder: Path, report: Report) -> None:
        """Fill the empty `folder`. Raises ConversionFailed."""
        ...


def ensure_model(
    name_or_path: str,
    models_dir: Path,
    engine_python: Path,
    report: Report,
    *,
    last_resort: str | None = None,
) -> LocalModel:
    """The model, downloaded and converted if need be. Blocking: run it in a thread beside an event loop.

    With `last_resort` that model is taken, and a note reported, if no source delivers the wanted one. Raises
    ModelError; EnvironmentMissing if a GGUF file must be converted and the engine environment is not there.
    """

    def convert(gguf: Path, folder: Path, report: Report) -> None:
        convert_gguf(gguf, folder, engine_python, report)

    local = Path(name_or_path).expanduser()
    if local.is_dir():
        return _in_place(local.resolve())
    if local.is_file():
        return _own_gguf(local.resolve(), models_dir, convert, report)
    if name_or_path.count("/") != 1 or name_or_path.startswith(("/", ".", "~")) or name_or_path.endswith(".gguf"):
        raise ModelNotFound(name_or_path, [f"no folder or GGUF file at {local}", "a name has the form OWNER/NAME"])
    try:
        return named_model(name_or_path, models_dir, sources_of(name_or_path), convert, report)
    except ModelNotFound as error:
        if last_resort is None or last_resort == name_or_path:
            raise
        report(Progress("note", f"{error}\nusing {last_resort} instead, a far weaker model"))
        return named_model(last_resort, models_dir, sources_of(last_resort), convert, report)


def list_models(models_dir: Path) -> list[LocalModel]:
    """The complete models in `models_dir`, by name."""
    return sorted(map(_read_complete, models_dir.glob("[!.]*/[!.]*/COMPLETE")), key=lambda model: model.name)


def named_model(name: str, models_dir: Path, sources: Sequence[Source], convert: Convert, report: Report) -> LocalModel:
    """The model from `models_dir`, else from the first source that delivers. Raises ModelNotFound, ConversionFailed."""
    target = models_dir / name
    if (target / "COMPLETE").exists():
        return _read_complete(target / "COMPLETE")
    with _lock(target, report):
        if (target / "COMPLETE").exists():
            return _read_complete(target / "COMPLETE")
        work = target.with_name(f".{target.name}.work")
        tried = []
        for source in sources:
            try:
                fetched = source.fetch(name, work, report)
            except (SourceFailed, WrongDigest) as error:
                tried.append(f"{source.label}: {error}")
                continue
            except OSError as error:
                raise ModelError(f"cannot store {name} in {work}: {error}") from error
            return _publish(fetched, target, work, name, source.label, convert, report)
    raise ModelNotFound(name, tried)


def convert_gguf(gguf: Path, folder: Path, engine_python: Path, report: Report) -> None:
    """Convert in a child process of the engine environment. See Convert."""
    if not engine_python.exists():
        raise EnvironmentMissing(f"a GGUF file is converted with {engine_python}, which is missing; run `make setup`")
    script = str(Path(__file__).with_name("convert_gguf.py"))
    threads = str(os.cpu_count() or 1)
    text = f"converting {gguf.name}"
    start = time.monotonic()

    def tick() -> None:
        report(Progress("convert", f"{text}, {time.monotonic() - start:.0f} s"))

    try:
        command = [str(engine_python), script, str(gguf), str(folder)]
        for line in lines(command, tick, {"OMP_NUM_THREADS": threads, "PYTHONWARNINGS": "ignore"}):
            if line.startswith('{"stage"'):
                text = f"converting {gguf.name}: {json.loads(line)['stage']}"
    except ChildFailed as error:
        raise ConversionFailed(f"cannot convert {gguf}: {error.tail or f'status {error.status}'}") from error


def folder_digest(folder: Path) -> str:
    """`sha256:…` over names and contents of the folder's own files, COMPLETE and dot files left out."""
    files = [file for file in folder.iterdir() if file.is_file() and file.name != "COMPLETE" and file.name[0] != "."]
    listing = "".join(f"{file_digest(file)}  {file.name}\n" for file in sorted(files))
    return "sha256:" + hashlib.sha256(listing.encode()).hexdigest()


def _in_place(folder: Path) -> LocalModel:
    if (folder / "COMPLETE").exists():
        return _read_complete(folder / "COMPLETE")
    if not (folder / "config.json").exists() or not any(folder.glob("*.safetensors")):
        raise ModelNotFound(str(folder), ["the folder has no config.json with *.safetensors; name a GGUF file itself"])
    return LocalModel(folder.name, folder, "local folder", folder_digest(folder), _context_length(folder))


def _own_gguf(gguf: Path, models_dir: Path, convert: Convert, report: Report) -> LocalModel:
    report(Progress("convert", f"reading {gguf.name}"))
    target = models_dir / "local" / f"{gguf.stem}-{file_digest(gguf)[:8]}"
    if (target / "COMPLETE").exists():
        return _read_complete(target / "COMPLETE")
    with _lock(target, report):
        if (target / "COMPLETE").exists():
            return _read_complete(target / "COMPLETE")
        work = target.with_name(f".{target.name}.work")
        return _publish(gguf, target, work, gguf.stem, str(gguf), convert, report)


def _publish(
    fetched: Path, target: Path, work: Path, name: str, source: str, convert: Convert, report: Report
) -> LocalModel:
    """Make `target` out of a fetched folder or GGUF file, visible at once and whole."""
    folder = fetched
    if fetched.is_file():
        folder = work / "converted"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        convert(fetched, folder, report)
    model = LocalModel(name, target, source, folder_digest(folder), _context_length(folder))
    facts = {key: value for key, value in asdict(model).items() if key != "path"}
    (folder / "COMPLETE").write_text(json.dumps(facts, indent=1) + "\n")
    for file in folder.rglob("*"):
        _sync_path(file)
    _sync_path(folder)
    shutil.rmtree(target, ignore_errors=True)  # without COMPLETE it is nobody's
    folder.rename(target)
    _sync_path(target.parent)
    shutil.rmtree(work, ignore_errors=True)
    return model


def _read_complete(marker: Path) -> LocalModel:
    return LocalModel(path=marker.parent, **json.loads(marker.read_text()))


def _context_length(folder: Path) -> int:
    config = json.loads((folder / "config.json").read_text())
    text = config.get("text_config") or config
    return int(text.get("max_position_embeddings") or 4096)


@contextmanager
def _lock(target: Path, report: Report) -> Iterator[None]:
    """Hold `target`'s lock, waiting for the process that has it; a killed process holds nothing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(f".{target.name}.lock").open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                report(Progress("waiting", f"another process is fetching {target.name}"))
                time.sleep(0.5)
        yield


def _sync_path(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
