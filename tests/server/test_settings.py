"""Where settings come from, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.settings import SettingsError, load_settings


def test_the_order_of_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "burnish.toml"
    config.write_text('data_dir = "/toml"\n[http]\nport = 1\nhost = "toml"\n[refine]\nmax_rounds = 9\n')
    monkeypatch.setenv("BURNISH_CONFIG", str(config))
    monkeypatch.setenv("BURNISH_HTTP__PORT", "2")
    settings = load_settings({"http": {"host": "given"}})
    assert (settings.http.host, settings.http.port) == ("given", 2)
    assert settings.refine.max_rounds == 9 and settings.refine.max_candidates == 16
    assert settings.data_dir == Path("/toml")


def test_keys_come_from_the_environment_and_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BURNISH_HTTP__API_KEYS", '["alpha-key", "beta-key"]')
    settings = load_settings()
    assert [key.get_secret_value() for key in settings.http.api_keys] == ["alpha-key", "beta-key"]
    assert "alpha-key" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("BURNISH_HTTP__PROT", "1", "did you mean BURNISH_HTTP__PORT"),
        ("BURNISH_NONSENSE", "1", "BURNISH_NONSENSE"),
        ("BURNISH_HTTP__PORT", "many", "http.port"),
        ("BURNISH_REFINE__MAX_CANDIDATES", "0", "refine.max_candidates"),
    ],
)
def test_wrong_variables(monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=says):
        load_settings()


def test_unknown_keys_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "burnish.toml"
    config.write_text("[http]\nprot = 1\n")
    monkeypatch.setenv("BURNISH_CONFIG", str(config))
    with pytest.raises(SettingsError, match=r"http\.prot"):
        load_settings()
