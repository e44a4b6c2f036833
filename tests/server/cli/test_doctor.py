"""What `burnish doctor` says about languages."""

from __future__ import annotations

import pytest

from agent.settings import SandboxSettings
from server.cli import doctor


def test_languages_are_told_with_versions_or_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.languages(SandboxSettings()).ok
    monkeypatch.setenv("PATH", "")
    finding = doctor.languages(SandboxSettings())
    assert finding.ok
    assert "no cpp: no g++ on this machine" in finding.detail
    assert "no javascript: no node on this machine" in finding.detail
