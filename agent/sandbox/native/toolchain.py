"""The compilers and interpreters of this machine."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from agent.sandbox.native.language import Language
from agent.settings import SandboxSettings

_SECONDS = 20.0
_OLDEST_NODE = (18, 0, 0)
_STRIPS_TYPES = (22, 13, 0)
_OLDEST_GXX = 9
_CXX_20 = 10
_GXX_READS = ("/usr/include", "/usr/local/include", "/usr/libexec/gcc")
_NODE_READS = ("/usr/share/nodejs",)
"""Debian's own node reads parts of its library from there."""
_PRIVATE = "/tmp"


class NoToolchain(Exception):
    """This machine lacks what a language needs; the text says what to install."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """One that was found."""

    name: str
    """`node` or `g++`."""
    executable: str
    version: str
    tools: tuple[str, ...]
    """Files and folders that must be seen to use it."""
    standard: str = ""
    """Of C++, as `-std=` wants it."""


def find(language: Language, settings: SandboxSettings) -> Toolchain:
    """The toolchain for programs in `language`. Takes some 50 ms. Raises NoToolchain."""
    if language is Language.CPP:
        return _gxx(settings.cxx)
    found = _node(settings.node)
    if language is Language.TYPESCRIPT and _numbers(found.version) < _STRIPS_TYPES:
        raise NoToolchain(
            f"node {found.version} cannot read TypeScript: install Node.js 22.13 or later, or set BURNISH_SANDBOX__NODE"
        )
    return found


def _node(name: str) -> Toolchain:
    advice = "install Node.js 18 or later, or set BURNISH_SANDBOX__NODE"
    asked = [_located(name, "node", advice), "-p", "process.execPath + '\\n' + process.versions.node"]
    executable, _, version = _said(asked, "node", advice).partition("\n")
    if _numbers(version) < _OLDEST_NODE:
        raise NoToolchain(f"node {version} at {executable} is too old: {advice}")
    reads = [path for path in _NODE_READS if Path(path).exists()]
    return Toolchain(name="node", executable=executable, version=version, tools=_seen(executable, *reads))


def _gxx(name: str) -> Toolchain:
    advice = "install g++ 9 or later (Debian: apt install g++), or set BURNISH_SANDBOX__CXX"
    executable = _located(name, "g++", advice)
    version = _said([executable, "-dumpfullversion"], "g++", advice)
    (major, *_) = _numbers(version)
    if major < _OLDEST_GXX:
        raise NoToolchain(f"g++ {version} at {executable} is too old: {advice}")
    helpers = [_said([executable, f"-print-prog-name={helper}"], "g++", advice) for helper in ("as", "ld")]
    reads = [path for path in _GXX_READS if Path(path).exists()]
    folder = Path(executable).parent
    if folder not in (Path("/usr/bin"), Path("/bin")):
        reads.append(str(folder.parent))
    found = [path for path in map(shutil.which, helpers) if path]
    return Toolchain(
        name="g++",
        executable=executable,
        version=version,
        tools=_seen(executable, *found, *reads),
        standard="gnu++20" if major >= _CXX_20 else "gnu++17",
    )


def _located(name: str, what: str, advice: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise NoToolchain(f"no {what} on this machine ({name!r} is not on the PATH): {advice}")
    return found


def _said(command: list[str], what: str, advice: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise NoToolchain(f"{what} at {command[0]} does not work ({error}): {advice}") from None
    return done.stdout.strip()


def _seen(*paths: str) -> tuple[str, ...]:
    hidden = [path for path in paths if Path(path).is_relative_to(_PRIVATE)]
    if hidden:
        raise NoToolchain(f"{hidden[0]} lies in {_PRIVATE}, which every program gets for itself: install it elsewhere")
    return tuple(dict.fromkeys(paths))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)[:3])) or (0,)
