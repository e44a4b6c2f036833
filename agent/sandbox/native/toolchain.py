"""The compilers and interpreters of this machine."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass, replace
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
_ABOUT_NODE = (
    "JSON.stringify([process.execPath, process.versions.node, "
    r"/VmData:\s*(\d+)/.exec(require('fs').readFileSync('/proc/self/status'))[1]])"
)
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
    stripper: str = ""
    """Takes types away from TypeScript, where node cannot itself: path of the compiler's library, or of esbuild."""
    stripper_runs: bool = False
    """It is an executable."""
    data_mb: int = 0
    """Memory that counts as written to before any program runs: newer versions of V8 count their space for code."""


def find(language: Language, settings: SandboxSettings) -> Toolchain:
    """The toolchain for programs in `language`. Takes some 50 ms. Raises NoToolchain."""
    if language is Language.CPP:
        return _gxx(settings.cxx)
    found = _node(settings.node)
    if language is Language.JAVASCRIPT or _numbers(found.version) >= _STRIPS_TYPES:
        return found
    stripper = _stripper()
    if stripper is None:
        raise NoToolchain(
            f"node {found.version} cannot read TypeScript: install Node.js 22.13 or later (or set "
            "BURNISH_SANDBOX__NODE to one), or put esbuild, or tsc of TypeScript 5, on the PATH"
        )
    runs = stripper.suffix != ".js"
    return replace(found, stripper=str(stripper), stripper_runs=runs, tools=_seen(*found.tools, str(stripper)))


def _stripper() -> Path | None:
    esbuild, tsc = shutil.which("esbuild"), shutil.which("tsc")
    if esbuild is not None and Path(esbuild).read_bytes()[:4] == b"\x7fELF":
        return Path(esbuild).resolve()
    library = Path(tsc).resolve().parents[1] / "lib" / "typescript.js" if tsc is not None else None
    return library if library is not None and library.exists() else None


def _node(name: str) -> Toolchain:
    advice = "install Node.js 18 or later, or set BURNISH_SANDBOX__NODE"
    told = _said([_located(name, "node", advice), "-p", _ABOUT_NODE], "node", advice)
    try:
        executable, version, data = json.loads(told)
    except ValueError:
        raise NoToolchain(f"{name!r} on this machine is not node: {advice}") from None
    if _numbers(version) < _OLDEST_NODE:
        raise NoToolchain(f"node {version} at {executable} is too old: {advice}")
    reads = [path for path in _NODE_READS if Path(path).exists()]
    return Toolchain(
        name="node",
        executable=executable,
        version=version,
        tools=_seen(executable, *reads),
        data_mb=int(data) // 1024,
    )


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
