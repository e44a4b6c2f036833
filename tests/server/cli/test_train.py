"""`burnish train`: a child process that is told where data and model are, and whose end is the command's."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from server.__main__ import app
from server.cli.common import CommandError
from server.cli.train import run
from server.settings import Settings, load_settings


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory with a model, and an interpreter that notes how it was called and ends as told."""
    model = tmp_path / "data" / "models" / "owner" / "name"
    model.mkdir(parents=True)
    facts = {"name": "owner/name", "source": "test", "digest": "sha256:0", "context_length": 2048}
    (model / "COMPLETE").write_text(json.dumps(facts))
    python = tmp_path / "python"
    python.write_text(
        f"#!{sys.executable}\nimport json, os, signal, sys\n"
        f"json.dump(sys.argv[1:], open({str(tmp_path / 'called')!r}, 'w'))\n"
        "end = [word for word in sys.argv if word.startswith('end=')]\n"
        "status = int(end[0][4:]) if end else 0\n"
        "os.kill(os.getpid(), -status) if status < 0 else sys.exit(status)\n"
    )
    python.chmod(0o755)
    monkeypatch.setenv("BURNISH_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("BURNISH_TRAINING__PYTHON", str(python))
    monkeypatch.setenv("BURNISH_ENGINE__MODEL", "owner/name")
    return tmp_path


def called(here: Path) -> list[str]:
    words: list[str] = json.loads((here / "called").read_text())
    return words


def test_data_and_model_are_told(here: Path) -> None:
    result = CliRunner().invoke(app, ["train", "policy", "--algorithm", "rltf", "--lr", "1e-4"])
    assert result.exit_code == 0, result.output
    data = here / "data"
    assert called(here) == [
        *("-m", "training", "policy", "--algorithm", "rltf", "--lr", "1e-4", "--data-dir", str(data)),
        *("--base", str(data / "models" / "owner" / "name"), "--base-name", "owner/name"),
    ]


def test_collecting_needs_no_model(here: Path) -> None:
    assert CliRunner().invoke(app, ["train", "collect", "problems.jsonl", "--samples", "4"]).exit_code == 0
    assert called(here) == [
        *("-m", "training", "collect", "problems.jsonl", "--samples", "4", "--data-dir", str(here / "data")),
    ]


def test_what_the_user_gives_wins(here: Path) -> None:
    CliRunner().invoke(app, ["train", "critic", "--data-dir=/d", "--base", "/m", "--base-name", "mine"])
    assert called(here)[3:] == ["--data-dir=/d", "--base", "/m", "--base-name", "mine"]
    CliRunner().invoke(app, ["train", "policy", "--help"])
    assert called(here)[2:] == ["policy", "--help"]


@pytest.mark.parametrize(("end", "status"), [(0, 0), (1, 1), (2, 2), (-signal.SIGTERM, 143), (-signal.SIGKILL, 137)])
def test_its_end_is_the_commands(here: Path, end: int, status: int) -> None:
    assert CliRunner().invoke(app, ["train", "export", f"end={end}"]).exit_code == status


def test_an_interpreter_that_is_missing(here: Path) -> None:
    settings: Settings = load_settings({"training": {"python": str(here / "none")}})
    with pytest.raises(CommandError, match="BURNISH_TRAINING__PYTHON") as error:
        run("policy", [], settings)
    assert error.value.status == 2
