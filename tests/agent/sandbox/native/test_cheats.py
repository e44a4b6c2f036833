"""No cheat passes, whatever test it is given; honest programs beside it are judged as ever."""

from __future__ import annotations

import asyncio

import pytest

from agent.sandbox.native.language import Language
from agent.sandbox.pool import WorkerPool
from memory.records import Outcome
from tests.agent.sandbox.native import cheats, machine
from tests.agent.sandbox.native.machine import SHORT, call, stdio

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def judged(pool: WorkerPool, language: Language, code: str) -> set[Outcome]:
    """Outcomes of a call and of a run as a script; the script is left out where a program does not compile."""
    called = await pool.run(code, [call("f(2)", "3")], language=language, limits=SHORT)
    if language is Language.CPP and (called.outcome is Outcome.COMPILE_ERROR or "main" not in code):
        return {called.outcome}
    printed = await pool.run(code, [stdio("", "3")], language=language, limits=SHORT)
    return {called.outcome, printed.outcome}


async def wrong(pool: WorkerPool, language: Language, programs: dict[str, str]) -> dict[str, set[Outcome]]:
    """The cheats that got what they must not get."""
    judgements = await asyncio.gather(*(judged(pool, language, code) for code in programs.values()))
    found = dict(zip(programs, judgements, strict=True))
    return {name: got for name, got in found.items() if got & {Outcome.PASSED, Outcome.SANDBOX_ERROR}}


@machine.needs(Language.JAVASCRIPT)
async def test_javascript(pool: WorkerPool) -> None:
    assert await wrong(pool, Language.JAVASCRIPT, cheats.JAVASCRIPT) == {}
    honest = await pool.run("function f(x) { return x + 1 }", [call("f(2)", "3")], language="js")
    assert honest.outcome is Outcome.PASSED


@machine.needs(Language.CPP)
async def test_cpp(pool: WorkerPool) -> None:
    assert await wrong(pool, Language.CPP, cheats.CPP) == {}
    honest = await pool.run("int f(int x) { return x + 1; }", [call("f(2)", "3")], language="cpp")
    assert honest.outcome is Outcome.PASSED


@machine.needs(Language.JAVASCRIPT)
async def test_answers_that_are_right_but_followed_by_more_do_not_pass(pool: WorkerPool) -> None:
    code = """
const { writeSync } = require('fs')
function f() { return 3 }
function g() { queueMicrotask(() => writeSync(3, Buffer.from([0, 0, 0, 2, 123, 125]))); return Promise.resolve(3) }
"""
    verdict = await pool.run(code, [call("f(2)", "3"), call("g(2)", "3")], language="js")
    assert verdict.cases[1].outcome is Outcome.RUNTIME_ERROR


@machine.needs(Language.JAVASCRIPT)
async def test_an_honest_answer_survives_what_the_program_replaced(pool: WorkerPool) -> None:
    code = """
JSON.stringify = Reflect.ownKeys = Array.isArray = Object.getOwnPropertyDescriptor = () => { throw 1 }
for (const kind of [Array, String, Map, Set, Function, Promise, Buffer])
  for (const name of Object.getOwnPropertyNames(kind.prototype))
    if (name !== 'constructor') try { kind.prototype[name] = () => { throw 2 } } catch {}
const f = (x) => ({ x: [x, 'é', null], y: new Map([[1, 2n]]) })
const g = async (x) => x + 1
"""
    tests = [call("f(1)", '{"x": [1, "é", null], "y": {"1": 2}}'), call("g(2)", "3")]
    verdict = await pool.run(code.replace("new Map([[1, 2n]])", "{1: 2n}"), tests, language="js")
    assert verdict.outcome is Outcome.PASSED, verdict
