"""Toolchains that are there, missing, too old or out of reach."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.errors import BadTests, UnknownLanguage
from agent.sandbox.native import toolchain
from agent.sandbox.native.language import Language
from agent.sandbox.pool import WorkerPool
from agent.settings import SandboxSettings
from memory.records import Outcome
from tests.agent.sandbox.native import machine
from tests.agent.sandbox.native.machine import call, stdio


def script(folder: Path, name: str, says: str) -> str:
    file = folder / name
    file.write_text(f"#!/bin/sh\necho '{says}'\n")
    file.chmod(0o755)
    return str(file)


@machine.needs(Language.CPP)
def test_what_is_found_names_what_must_be_seen() -> None:
    found = toolchain.find(Language.CPP, SandboxSettings())
    assert found.executable in found.tools
    assert found.standard in ("gnu++17", "gnu++20")


@pytest.mark.parametrize(
    ("language", "advice"),
    [
        (Language.JAVASCRIPT, "no node on this machine .* install Node.js 18 or later, or set BURNISH_SANDBOX__NODE"),
        (Language.TYPESCRIPT, "no node on this machine"),
        (Language.CPP, r"no g\+\+ on this machine .* apt install g\+\+"),
    ],
)
def test_an_empty_path(monkeypatch: pytest.MonkeyPatch, language: Language, advice: str) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(toolchain.NoToolchain, match=advice):
        toolchain.find(language, SandboxSettings())


def test_others_are_refused(tmp_path: Path) -> None:
    old = script(tmp_path, "node", '["/usr/bin/node", "16.1.0", "50000"]')
    with pytest.raises(toolchain.NoToolchain, match=r"node 16\.1\.0 at /usr/bin/node is too old"):
        toolchain.find(Language.JAVASCRIPT, SandboxSettings(node=old))
    with pytest.raises(toolchain.NoToolchain, match="is not node"):
        toolchain.find(Language.JAVASCRIPT, SandboxSettings(node=script(tmp_path, "other", "hello")))
    private = script(tmp_path, "private", '["/tmp/node", "22.1.0", "50000"]')
    with pytest.raises(toolchain.NoToolchain, match="lies in /tmp"):
        toolchain.find(Language.JAVASCRIPT, SandboxSettings(node=private))
    with pytest.raises(toolchain.NoToolchain, match=r"g\+\+ 8\.3\.0 at .* is too old"):
        toolchain.find(Language.CPP, SandboxSettings(cxx=script(tmp_path, "g++", "8.3.0")))
    with pytest.raises(toolchain.NoToolchain, match="does not work"):
        toolchain.find(Language.CPP, SandboxSettings(cxx="false"))


def test_typescript_needs_a_node_that_reads_it_or_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path, "node", '["/usr/bin/node", "20.1.0", "50000"]')
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        toolchain.NoToolchain, match=r"install Node.js 22\.13 or later .* esbuild, or tsc of TypeScript 5, on the PATH"
    ):
        toolchain.find(Language.TYPESCRIPT, SandboxSettings())
    script(tmp_path, "node", '["/usr/bin/node", "22.13.1", "50000"]')
    assert toolchain.find(Language.TYPESCRIPT, SandboxSettings()).stripper == ""


@pytest.mark.asyncio(loop_scope="session")
async def test_a_missing_toolchain_is_a_failure_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    async with await WorkerPool.start(SandboxSettings(workers=1)) as pool:
        for language in ("js", "ts", "cpp"):
            verdict = await pool.run("", [stdio("", "")], language=language)
            assert (verdict.outcome, verdict.total) == (Outcome.SANDBOX_ERROR, 0)
            assert verdict.error is not None
            assert "on this machine" in verdict.error.message


@pytest.mark.asyncio(loop_scope="session")
async def test_wrong_questions_are_refused_before_anything_runs(pool: WorkerPool) -> None:
    with pytest.raises(UnknownLanguage):
        await pool.run("", [], language="cobol")
    with pytest.raises(BadTests):
        await pool.run("", [call("f()", "f()")], language="js")
    long = await pool.run(" " * (1 << 21), [stdio("", "")], language="js")
    assert long.outcome is Outcome.COMPILE_ERROR


@pytest.mark.asyncio(loop_scope="session")
async def test_programs_in_python_see_no_toolchain(pool: WorkerPool) -> None:
    code = "import os\nprint([path for path in ('/usr/bin', '/usr/include') if os.path.exists(path)])"
    assert (await pool.run(code, [stdio("", "[]")])).outcome is Outcome.PASSED
