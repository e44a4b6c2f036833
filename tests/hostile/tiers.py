"""The isolation tiers that the corpus is run on, and how to become the user that a tier is for."""

from __future__ import annotations

import os
import site
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.settings import SandboxSettings

NOBODY = 65534
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """How a pool of one tier is had."""

    name: str
    """As the command knows it."""
    reported: str
    """What `Isolation.tier` must say."""
    as_root: bool
    settings: SandboxSettings
    shared_interpreter: bool = False
    """The interpreter has to be one that every user can read."""
    starts_processes: bool = True
    """Programs may start processes where their limits allow it."""

    def reason_against(self, exempt: Mapping[str, str], *, starts_processes: bool) -> str:
        """Why a program with these exemptions says nothing about this tier; empty if it does."""
        if starts_processes and not self.starts_processes:
            return "programs that start processes are only run in tier A"
        return exempt.get(self.name) or exempt.get(self.reported) or ""


_A, _B = SandboxSettings(tier="A"), SandboxSettings(tier="B")
_ALL = (
    Tier(name="A-root", reported="A-root", as_root=True, settings=_A),
    Tier(name="A-user", reported="A-user", as_root=False, settings=_A),
    Tier(name="B-root", reported="B", as_root=True, settings=_B, shared_interpreter=True, starts_processes=False),
    Tier(name="B-user", reported="B", as_root=False, settings=_B, starts_processes=False),
)
TIERS = {tier.name: tier for tier in _ALL}


class Unreachable(Exception):
    """This user, or this machine, cannot run the corpus on a tier; the text says why."""


def start(name: str, arguments: Sequence[str], *, output: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run `python -m tests.hostile` on a tier, as an ordinary user where the tier is for one. Raises Unreachable."""
    tier, is_root = TIERS[name], os.geteuid() == 0
    if tier.as_root and not is_root:
        raise Unreachable(f"tier {name} is for root")
    line = ["-m", "tests.hostile", "--here", "--tier", name, *arguments]
    becomes_user = is_root and not tier.as_root
    if not (becomes_user or (is_root and tier.shared_interpreter)):
        return subprocess.run([sys.executable, *line], cwd=_ROOT, stdout=output, text=True, check=False)
    user: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if becomes_user else {}
    python = _interpreter_for_everybody()
    return subprocess.run([python, *line], cwd=_ROOT, env=_environment(), stdout=output, text=True, check=False, **user)


def _environment() -> dict[str, str]:
    """The packages of this interpreter, for one that has none of its own."""
    folders = dict.fromkeys([str(_ROOT), sysconfig.get_path("purelib"), *site.getsitepackages()])
    return {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "PYTHONPATH": ":".join(folders), "LC_ALL": "C.UTF-8"}


def _interpreter_for_everybody() -> str:
    """An interpreter that an ordinary user can run this package with. Raises Unreachable."""
    said = ""
    for python in dict.fromkeys([str(Path(sys.executable).resolve()), "/usr/bin/python3"]):
        try:
            done = subprocess.run(
                [python, "-c", "import tests.hostile.harness"], cwd=_ROOT, env=_environment(), check=False,
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                user=NOBODY, group=NOBODY, extra_groups=[],
            )  # fmt: skip
        except OSError as error:
            said += f"; {python}: {error.strerror}"
            continue
        if done.returncode == 0:
            return python
        said += f"; {python}: {(done.stderr.strip() or 'no message').splitlines()[-1]}"
    raise Unreachable(f"no interpreter of this machine can run Burnish as uid {NOBODY}{said}")
