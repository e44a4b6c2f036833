"""What of this machine the tests of other languages need, and short names for what they run."""

from __future__ import annotations

import pytest

from agent.sandbox.native import toolchain
from agent.sandbox.native.language import Language
from agent.sandbox.pool import WorkerPool
from agent.settings import SandboxSettings
from memory.records import CallTest, Limits, StdioTest, Test, Verdict

SHORT = Limits(cpu_seconds_per_test=0.4, cpu_seconds=0.8, memory_mb=128)


def lacking(language: Language, settings: SandboxSettings | None = None) -> str:
    """Why programs in `language` cannot be run here; empty if they can."""
    try:
        toolchain.find(language, settings or SandboxSettings())
    except toolchain.NoToolchain as error:
        return str(error)
    return ""


def needs(language: Language) -> pytest.MarkDecorator:
    """Skips tests of `language` where it cannot be run."""
    reason = lacking(language)
    return pytest.mark.skipif(bool(reason), reason=reason)


def stdio(stdin: str, stdout: str) -> Test:
    return StdioTest(stdin=stdin, stdout=stdout)


def call(expression: str, expected: str) -> Test:
    return CallTest(call=expression, expected=expected)


async def run(pool: WorkerPool, language: Language, code: str, *tests: Test, limits: Limits | None = None) -> Verdict:
    return await pool.run(code, tests, language=language, limits=limits or Limits())
