"""`burnish models` as a person and a script call it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from server.cli.common import CommandError
from server.cli.models import app


def a_model(data_dir: Path) -> Path:
    folder = data_dir / "models" / "owner" / "name"
    folder.mkdir(parents=True)
    facts = {"name": "owner/name", "source": "test", "digest": "sha256:0", "context_length": 2048}
    (folder / "COMPLETE").write_text(json.dumps(facts))
    return folder


def test_list_tells_what_is_here(tmp_path: Path) -> None:
    folder = a_model(tmp_path)
    (tmp_path / "models" / "owner" / "half").mkdir()
    result = CliRunner().invoke(app, ["list", "--data-dir", str(tmp_path), "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == [
        {
            "name": "owner/name",
            "path": str(folder),
            "source": "test",
            "digest": "sha256:0",
            "context_length": 2048,
        }
    ]
    assert "owner/name" in CliRunner().invoke(app, ["list", "--data-dir", str(tmp_path)]).stdout


def test_list_of_nothing(tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["list", "--data-dir", str(tmp_path), "--json"]).stdout == "[]\n"


def test_pull_of_a_complete_model_answers_at_once(tmp_path: Path) -> None:
    folder = a_model(tmp_path)
    result = CliRunner().invoke(app, ["pull", "owner/name", "--data-dir", str(tmp_path)])
    assert result.stdout == f"owner/name: {folder}\n"


def test_pull_of_nothing_says_what_was_tried(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["pull", str(tmp_path / "no.gguf"), "--data-dir", str(tmp_path)])
    assert isinstance(result.exception, CommandError)
    with pytest.raises(CommandError, match="no folder or GGUF file"):
        raise result.exception
