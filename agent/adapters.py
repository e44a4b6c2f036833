"""Adapters on disk: what training publishes and the server loads.

    adapters/actor@13/       adapter_config.json, adapter_model.safetensors, card.json, probe.json; COMPLETE comes last
    adapters/.actor@13.xxxx  being written, or left by a writer that died; readers ignore it
    adapters/counter.json    the highest number ever given to each kind; it never goes back
    adapters/live.json       which versions the server answers with; only the server writes it

A folder is made under another name, flushed and renamed, so that it is whole or absent, and is never changed
afterwards: an engine that is told to load other bytes under an old name answers from the old name's cache (vLLM issues
42125 and 30931). COMPLETE holds a digest of every file, because a network file system may show it before the data.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

from pydantic import ValidationError

from agent.calibration import Calibration
from agent.errors import AdapterError
from memory.wire import from_json, to_json

Kind = Literal["actor", "critic"]
"""actor: writes programs. critic: tells how a program will end."""
KINDS: tuple[Kind, ...] = get_args(Kind)
WEIGHTS = ("adapter_config.json", "adapter_model.safetensors")
"""The files of an adapter in peft's format."""
_CARD, _PROBE, _COMPLETE = "card.json", "probe.json", "COMPLETE"
_NAME = re.compile(r"(actor|critic)@([1-9][0-9]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What a version is and where it comes from."""

    name: str
    """`actor@N` or `critic@N`."""
    base: str
    """Name under which its base model is served."""
    base_digest: str = ""
    """Digest of the base model's folder; empty: not known."""
    parent: str = ""
    """The version that training started from; empty is the base model."""
    run: str = ""
    """Name of the training run."""
    step: int = 0
    algorithm: str = ""
    data: str = ""
    """Digest of the dataset."""
    created: float = 0.0
    """Unix time, seconds."""
    note: str = ""
    calibration: Calibration | None = None
    """Of a critic: how what it says becomes a probability."""

    @property
    def kind(self) -> Kind:
        """Actor or critic."""
        return kind_of(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbePrompt:
    """A text as tokens, and the log-probabilities of some tokens to follow it."""

    ids: tuple[int, ...]
    next_ids: tuple[int, ...]
    trained: tuple[float, ...]
    """By the trainer, with the adapter."""
    base: tuple[float, ...]
    """By the trainer, without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What the trainer computed in float32, for the server to compare with what the engine answers."""

    prompts: tuple[ProbePrompt, ...]
    repeated: ProbePrompt | None = None
    """A text longer than two blocks of the engine's prefix cache, asked twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """A whole folder."""

    folder: Path
    card: Card
    probe: Probe

    @property
    def name(self) -> str:
        """The version's name, which is also the folder's."""
        return self.card.name

    @property
    def kind(self) -> Kind:
        """Actor or critic."""
        return self.card.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """The versions that answer; None is the base model."""

    actor: str | None = None
    critic: str | None = None
    previous: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)
    """For each kind what was live before, the latest first."""

    def of(self, kind: Kind) -> str | None:
        """The live version of a kind."""
        return self.actor if kind == "actor" else self.critic

    def before(self, kind: Kind) -> tuple[str | None, ...]:
        """What was live before, the latest first."""
        return tuple(self.previous.get(kind, ()))

    def pointed(self, kind: Kind, name: str | None, previous: tuple[str | None, ...]) -> Live:
        """With another live version of a kind, and another past."""
        past = {**self.previous, kind: previous}
        return (
            replace(self, actor=name, previous=past) if kind == "actor" else replace(self, critic=name, previous=past)
        )


def kind_of(name: str) -> Kind:
    """The kind of a version. Raises AdapterError for what is no version's name."""
    return cast(Kind, _parts(name)[0])


def number_of(name: str) -> int:
    """The number of a version. Raises AdapterError for what is no version's name."""
    return int(_parts(name)[1])


def next_version(root: Path, kind: Kind) -> str:
    """A name that was never given before, also not to a folder that is gone. Safe between processes."""
    root.mkdir(parents=True, exist_ok=True)
    with _locked(root / ".counter.lock"):
        counter = root / "counter.json"
        given: dict[str, int] = json.loads(counter.read_text()) if counter.exists() else {}
        there = [number_of(path.name) for path in root.iterdir() if _NAME.fullmatch(path.name) and _of(path, kind)]
        given[kind] = max([given.get(kind, 0), *there]) + 1
        replace_text(counter, json.dumps(given))
    return f"{kind}@{given[kind]}"


def write(root: Path, card: Card, probe: Probe, weights: Path) -> Adapter:
    """Make the folder of `card.name` from a folder that holds `WEIGHTS`. Raises AdapterError: the name is taken, a file
    is missing, the disk is full; then nothing is left under the name."""
    _parts(card.name)
    folder = root / card.name
    root.mkdir(parents=True, exist_ok=True)
    if folder.exists():
        raise AdapterError(f"{folder} exists already; a published version is never written again")
    missing = [name for name in WEIGHTS if not (weights / name).is_file()]
    if missing:
        raise AdapterError(f"{weights} is no adapter in peft's format: it lacks {', '.join(missing)}")
    making = Path(tempfile.mkdtemp(prefix=f".{card.name}.", dir=root))
    try:
        for name in WEIGHTS:
            shutil.copyfile(weights / name, making / name)
        (making / _CARD).write_text(json.dumps(json.loads(to_json(card)), indent=1) + "\n")
        (making / _PROBE).write_text(to_json(probe) + "\n")
        written = (*WEIGHTS, _CARD, _PROBE)
        for name in written:
            _flush(making / name)
        making.chmod(0o755)
        _flush(making)
        (making / _COMPLETE).write_text(json.dumps({name: _digest(making / name) for name in written}, indent=1) + "\n")
        _flush(making / _COMPLETE)
        _flush(making)
        making.rename(folder)
        _flush(root)
    except OSError as error:
        shutil.rmtree(making, ignore_errors=True)
        raise AdapterError(f"{card.name} is not published: {error}") from error
    return Adapter(folder=folder, card=card, probe=probe)


def read(folder: Path) -> Adapter:
    """A whole folder. Raises AdapterError that says what is wrong with it."""
    if not (folder / _COMPLETE).is_file():
        raise AdapterError(f"{folder} is not whole: it has no {_COMPLETE}")
    try:
        card = from_json(Card, (folder / _CARD).read_text())
        probe = from_json(Probe, (folder / _PROBE).read_text())
    except (OSError, ValueError) as error:
        raise AdapterError(f"{folder} cannot be read: {error}") from error
    if card.name != folder.name:
        raise AdapterError(f"{folder} says that it is {card.name}")
    return Adapter(folder=folder, card=card, probe=probe)


def published(root: Path) -> list[Adapter]:
    """Every whole version, by kind and number; folders that cannot be read are left out (`read` says why)."""
    found = []
    for path in root.iterdir() if root.is_dir() else ():
        if _NAME.fullmatch(path.name) and (path / _COMPLETE).is_file():
            try:
                found.append(read(path))
            except AdapterError:
                continue
    return sorted(found, key=lambda adapter: (adapter.kind, number_of(adapter.name)))


def check(adapter: Adapter) -> None:
    """Compare every file with the digest it was published with. Raises AdapterError."""
    try:
        digests: dict[str, str] = json.loads((adapter.folder / _COMPLETE).read_text())
        wrong = [name for name, digest in digests.items() if _digest(adapter.folder / name) != digest]
    except (OSError, ValueError, AttributeError) as error:
        raise AdapterError(f"{adapter.folder} cannot be read: {error}") from error
    if wrong or not set(WEIGHTS) <= set(digests):
        raise AdapterError(f"{adapter.folder} is not what was published: {', '.join(wrong) or 'weights are missing'}")


def check_shape(weights: Path, max_rank: int) -> None:
    """Refuse what vLLM cannot serve as a runtime adapter. Raises AdapterError that names the setting."""
    try:
        config: dict[str, Any] = json.loads((weights / WEIGHTS[0]).read_text())
    except (OSError, ValueError) as error:
        raise AdapterError(f"{weights / WEIGHTS[0]} cannot be read: {error}") from error
    targets = config.get("target_modules") or ()
    faults = [
        (config.get("peft_type") != "LORA", f"peft_type is {config.get('peft_type')!r}, not 'LORA'"),
        (bool(config.get("use_dora")), "use_dora is set"),
        (config.get("bias", "none") != "none", f"bias is {config.get('bias')!r}, not 'none'"),
        (bool(config.get("modules_to_save")), "modules_to_save is set"),
        (bool(config.get("target_parameters")), "target_parameters is set"),
        (bool({"lm_head", "embed_tokens"} & set(targets)), "target_modules holds lm_head or embed_tokens"),
        (int(config.get("r", 0)) > max_rank, f"r is {config.get('r')}, above the engine's max_lora_rank {max_rank}"),
    ]
    wrong = [fault for present, fault in faults if present]
    if wrong:
        raise AdapterError(f"the engine cannot serve the adapter in {weights}: {'; '.join(wrong)}")


def read_live(root: Path) -> Live:
    """The live versions; the base model where there is no such file. Raises AdapterError if it cannot be read."""
    file = root / "live.json"
    try:
        return from_json(Live, file.read_text())
    except FileNotFoundError:
        return Live()
    except (OSError, ValueError, ValidationError) as error:
        raise AdapterError(f"{file} cannot be read: {error}") from error


def write_live(root: Path, live: Live) -> None:
    """Replace the pointer in one step. Raises AdapterError if the disk does not take it; the old one stays."""
    try:
        replace_text(root / "live.json", json.dumps(json.loads(to_json(live)), indent=1) + "\n")
    except OSError as error:
        raise AdapterError(f"the live versions cannot be written: {error}") from error


def replace_text(file: Path, text: str) -> None:
    """Write a small file so that readers see the old one or the new one, also after a crash. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(handle, "w") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        Path(name).replace(file)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
    _flush(file.parent)


def _parts(name: str) -> tuple[str, str]:
    match = _NAME.fullmatch(name)
    if match is None:
        raise AdapterError(f"{name!r} is no version; versions are called actor@N or critic@N")
    return match[1], match[2]


def _of(path: Path, kind: Kind) -> bool:
    return kind_of(path.name) == kind


def _digest(file: Path) -> str:
    with file.open("rb") as data:
        return f"sha256:{hashlib.file_digest(data, 'sha256').hexdigest()}"


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
