"""Programs in TypeScript, where node can read it."""

from __future__ import annotations

import pytest

from agent.sandbox.native.language import Language
from agent.sandbox.pool import WorkerPool
from memory.records import Outcome
from tests.agent.sandbox.native import machine
from tests.agent.sandbox.native.machine import call, stdio

pytestmark = [pytest.mark.asyncio(loop_scope="session"), machine.needs(Language.TYPESCRIPT)]

CODE = """
interface Item { name: string; size?: number }
type Sizes = Record<string, number>;
function sizes<T extends Item>(items: T[]): Sizes {
  const found: Sizes = {};
  for (const item of items) found[item.name] = item.size ?? 0;
  return found;
}
const fails = (x: number): never => { throw new RangeError(`too far: ${x}`); };
"""


async def test_calls(pool: WorkerPool) -> None:
    tests = [call("sizes([{name: 'a', size: 1}, {name: 'b'}])", '{"a": 1, "b": 0}'), call("fails(1)", "1")]
    verdict = await pool.run(CODE, tests, language="ts")
    assert [case.outcome for case in verdict.cases] == [Outcome.PASSED, Outcome.RUNTIME_ERROR]
    assert verdict.error is not None
    assert (verdict.error.type, verdict.error.message) == ("RangeError", "too far: 1")
    assert verdict.error.line in (9, None)


async def test_standard_input_and_output(pool: WorkerPool) -> None:
    code = "import { readFileSync } from 'node:fs';\nconst n: number = Number(readFileSync(0, 'utf8'));\nconsole.log(n + 1);"
    verdict = await pool.run(code, [stdio("1", "2"), stdio("1", "3")], language="typescript")
    assert [case.outcome for case in verdict.cases] == [Outcome.PASSED, Outcome.FAILED_TEST]


async def test_syntax_that_is_more_than_types(pool: WorkerPool) -> None:
    code = "enum Color { Red, Green }\nclass P { constructor(private x: number) {} get() { return this.x } }"
    tests = [call("Color.Green", "1"), call("new P(3).get()", "3")]
    assert (await pool.run(code, tests, language="ts")).outcome is Outcome.PASSED


async def test_compile_errors(pool: WorkerPool) -> None:
    verdict = await pool.run("let y: number\nconst x: = 1", [stdio("", "")], language="ts")
    assert verdict.outcome is Outcome.COMPILE_ERROR
    assert verdict.error is not None
    assert (verdict.error.type, verdict.error.line, verdict.error.span) == ("SyntaxError", 2, (2, 9, 2, 10))
    assert verdict.error.message
