"""What the commands tell arrives as it was said."""

from __future__ import annotations

import pytest

from training.console import standard_error


def test_a_long_line_stays_whole_and_nothing_in_it_is_markup(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    line = f"{'/a/long path' * 20}/base has no [bold]adapter[/bold] :file_folder:"
    standard_error().print(line)
    assert capsys.readouterr().err == f"{line}\n"
