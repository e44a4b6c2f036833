"""Other languages as an ordinary user, and where there are no namespaces."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from memory.records import Outcome

NOBODY = 65534
ROOT = Path(__file__).parents[4]


def told(tier: str) -> dict[str, Any]:
    """What `python -m tests.agent.sandbox.native` says for an ordinary user; skips the test where none can run it."""
    packages = sysconfig.get_path("purelib")
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "PYTHONPATH": f"{ROOT}:{packages}"}
    as_user: dict[str, Any] = {}
    if os.geteuid() == 0:
        as_user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    reason = ""
    for python in dict.fromkeys([str(Path(sys.executable).resolve()), "/usr/bin/python3"]):
        try:
            done = subprocess.run(
                [python, "-m", "tests.agent.sandbox.native", "--tier", tier],
                cwd=ROOT, env=environment, capture_output=True, text=True, check=False, **as_user,
            )  # fmt: skip
        except OSError as error:
            reason += f"{python}: {error.strerror}; "
            continue
        if done.returncode == 0:
            found: dict[str, Any] = json.loads(done.stdout)
            if "unavailable" in found:
                pytest.skip(found["unavailable"])
            return found
        reason += f"{python}: {(done.stderr.strip() or 'no message').splitlines()[-1]}; "
    pytest.skip(f"no interpreter can run this as uid {NOBODY}: {reason}")


def test_as_an_ordinary_user() -> None:
    found = told("A")
    assert found["tier"] == "A-user"
    assert {outcome for outcome, _ in found["honest"].values()} <= {Outcome.PASSED}, found
    outcomes = [outcome for outcomes in found["cheats"].values() for outcome in outcomes]
    assert not {Outcome.PASSED, Outcome.SANDBOX_ERROR} & set(outcomes), found


def test_without_namespaces_the_better_tier_is_named() -> None:
    found = told("B")
    assert found["tier"] == "B"
    for outcome, message in found["honest"].values():
        assert outcome == Outcome.SANDBOX_ERROR
        assert "only run in isolation tier A" in message
