"""The folder of a version: whole or absent, never changed; names that are never given twice; the live pointer."""

from __future__ import annotations

import json
import multiprocessing
import resource
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from agent.adapters import (
    Card,
    Live,
    check,
    check_shape,
    kind_of,
    next_version,
    number_of,
    published,
    read,
    read_live,
    write,
    write_live,
)
from agent.errors import AdapterError
from tests import lora_engine
from tests.lora_engine import probe_of


def weights(folder: Path, text: str = "1", **config: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 8, "bias": "none", **config}))
    (folder / "adapter_model.safetensors").write_text(text)
    return folder


def test_what_was_written_is_read(tmp_path: Path) -> None:
    made = lora_engine.published(tmp_path, parent="actor@0", run="r1", step=7, algorithm="rltf", data="sha256:1")
    assert made.name == "actor@1" and made.folder == tmp_path / "adapters" / "actor@1"
    again = read(made.folder)
    assert again == made
    assert again.card.step == 7 and again.kind == "actor" and again.probe == probe_of(0.5)
    check(again)
    assert published(tmp_path / "adapters") == [made]


def test_versions_are_listed_by_kind_and_number(tmp_path: Path) -> None:
    for _ in range(11):
        lora_engine.published(tmp_path)
    lora_engine.published(tmp_path, "critic")
    names = [adapter.name for adapter in published(tmp_path / "adapters")]
    assert names == [*(f"actor@{number}" for number in range(1, 12)), "critic@1"]
    assert published(tmp_path / "absent") == []


def test_a_folder_without_its_marker_is_ignored(tmp_path: Path) -> None:
    made = lora_engine.published(tmp_path)
    (made.folder / "COMPLETE").unlink()
    assert published(tmp_path / "adapters") == []
    with pytest.raises(AdapterError, match="not whole"):
        read(made.folder)


def test_a_folder_is_whole_or_absent_when_the_writer_fails(tmp_path: Path) -> None:
    """A file that is missing, and a disk that is full: here a limit on the size of files."""
    root, source = tmp_path / "adapters", weights(tmp_path / "made")
    (source / "adapter_model.safetensors").unlink()
    (source / "adapter_model.safetensors").mkdir()
    with pytest.raises(AdapterError, match="lacks adapter_model"):
        write(root, Card(name="actor@1", base="m"), probe_of(1.0), source)
    full = weights(tmp_path / "full", text="1" * 100_000)

    def limited(queue: multiprocessing.Queue[str]) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
        try:
            write(root, Card(name="actor@1", base="m"), probe_of(1.0), full)
        except AdapterError as error:
            queue.put(str(error))

    context = multiprocessing.get_context("fork")
    queue: multiprocessing.Queue[str] = context.Queue()
    child = context.Process(target=limited, args=(queue,))
    child.start()
    assert "actor@1 is not published" in queue.get(timeout=30)
    child.join()
    assert list(root.iterdir()) == []
    assert write(root, Card(name="actor@1", base="m"), probe_of(1.0), full).name == "actor@1"


def test_a_name_is_never_written_again(tmp_path: Path) -> None:
    made = lora_engine.published(tmp_path)
    before = (made.folder / "adapter_model.safetensors").read_text()
    with pytest.raises(AdapterError, match="never written again"):
        write(tmp_path / "adapters", made.card, made.probe, weights(tmp_path / "other", "2"))
    assert (made.folder / "adapter_model.safetensors").read_text() == before


def test_numbers_never_go_back(tmp_path: Path) -> None:
    root = tmp_path / "adapters"
    assert [next_version(root, "actor") for _ in range(3)] == ["actor@1", "actor@2", "actor@3"]
    assert next_version(root, "critic") == "critic@1"
    made = lora_engine.published(tmp_path)
    assert made.name == "actor@4"
    shutil.rmtree(made.folder)
    assert next_version(root, "actor") == "actor@5"
    (root / "counter.json").unlink()
    (root / "actor@9").mkdir()
    assert next_version(root, "actor") == "actor@10"


def _names(root: Path, count: int) -> list[str]:
    return [next_version(root, "actor") for _ in range(count)]


def test_two_processes_never_get_the_same_name(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        lists = pool.starmap(_names, [(tmp_path, 20)] * 3)
    names = [name for one in lists for name in one]
    assert len(set(names)) == 60


def test_names() -> None:
    assert kind_of("critic@12") == "critic" and number_of("actor@120") == 120
    for wrong in ("actor", "actor@0", "actor@x", "base@1", "../actor@1", "actor@1/x", ""):
        with pytest.raises(AdapterError, match="no version"):
            kind_of(wrong)


@pytest.mark.parametrize("file", ["adapter_model.safetensors", "card.json", "probe.json", "adapter_config.json"])
def test_changed_bytes_are_found(tmp_path: Path, file: str) -> None:
    made = lora_engine.published(tmp_path)
    (made.folder / file).write_text((made.folder / file).read_text() + " ")
    with pytest.raises(AdapterError, match=file):
        check(made)


def test_a_renamed_folder_is_not_another_version(tmp_path: Path) -> None:
    made = lora_engine.published(tmp_path)
    made.folder.rename(tmp_path / "adapters" / "actor@2")
    with pytest.raises(AdapterError, match="says that it is actor@1"):
        read(tmp_path / "adapters" / "actor@2")
    assert published(tmp_path / "adapters") == []


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"bias": "lora_only"}, "bias"),
        ({"modules_to_save": ["embed_tokens"]}, "modules_to_save"),
        ({"target_modules": ["q_proj", "lm_head"]}, "lm_head"),
        ({"target_parameters": ["mlp.experts"]}, "target_parameters"),
        ({"r": 32}, "max_lora_rank 16"),
        ({"peft_type": "IA3"}, "peft_type"),
    ],
)
def test_shapes_that_the_engine_cannot_serve(tmp_path: Path, config: dict[str, Any], named: str) -> None:
    check_shape(weights(tmp_path / "good", target_modules=["q_proj"]), 16)
    with pytest.raises(AdapterError, match=named):
        check_shape(weights(tmp_path / "bad", **config), 16)


def test_the_live_pointer(tmp_path: Path) -> None:
    assert read_live(tmp_path) == Live()
    live = Live().pointed("actor", "actor@1", (None,)).pointed("critic", "critic@1", (None,))
    write_live(tmp_path, live)
    assert read_live(tmp_path) == live and live.of("actor") == "actor@1" and live.before("critic") == (None,)
    second = live.pointed("actor", "actor@2", ("actor@1", None))
    write_live(tmp_path, second)
    plain = json.loads((tmp_path / "live.json").read_text())
    assert plain == {
        "actor": "actor@2",
        "critic": "critic@1",
        "previous": {"actor": ["actor@1", None], "critic": [None]},
    }
    assert [path.name for path in tmp_path.iterdir()] == ["live.json"]
    (tmp_path / "live.json").write_text("{")
    with pytest.raises(AdapterError, match="cannot be read"):
        read_live(tmp_path)
