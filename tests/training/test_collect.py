"""Samples of a model version: a scripted engine on a real socket, judged by a scripted or the real sandbox."""

from __future__ import annotations

import asyncio
import gzip
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from agent.errors import BadTests, EngineRefused, EngineUnavailable
from agent.policy import EnginePolicy
from agent.problems import load
from agent.sandbox.pool import WorkerPool
from agent.settings import SandboxSettings
from memory.experience import Selection
from memory.records import CodeTest, Fault, Outcome, Problem, Test, TestSource, Trajectory, Verdict
from memory.trajectories import SqlTrajectoryStore
from tests.data import data_file
from tests.fakes import ScriptedSandbox, passes_if, program
from tests.scripted_engine import MODEL, ScriptedEngine, serving
from tests.server.conftest import running
from training.collect import (
    Collected,
    CollectSettings,
    Prefixes,
    collect,
    no_prefix,
    refuse_benchmarks,
    trajectory_id,
)
from training.endpoint import connected, named
from training.errors import BadData

QUICK = CollectSettings(samples=3, streams=8, patience_s=0.4)


def problem(name: str, **more: Any) -> Problem:
    hidden = more.pop("hidden", (CodeTest(source=f"def check(c):\n    assert c(1) == 2  # {name}", runner="check"),))
    return Problem(id=name, statement=f"Write `f` as {name} says.", entry_point="f", hidden=hidden, **more)


def answer(body: dict[str, Any], index: int) -> str:
    """The greedy answer fails; of the samples every second one passes."""
    good = body["temperature"] > 0 and index % 2
    return program(f"def f(x): return x + {1 if good else index + 2}")


@dataclass
class Rig:
    """Collects from one engine into one store."""

    http: httpx.AsyncClient
    store: SqlTrajectoryStore
    sandbox: ScriptedSandbox

    async def run(
        self,
        problems: Sequence[Problem],
        settings: CollectSettings = QUICK,
        prefixes: Prefixes = no_prefix,
        stop: asyncio.Event | None = None,
        tell: Callable[[Collected], None] = lambda collected: None,
    ) -> Collected:
        return await collect(
            problems,
            MODEL,
            settings,
            policy=EnginePolicy(self.http, lambda: True),
            sandbox=self.sandbox,
            store=self.store,
            prefixes=prefixes,
            stop=stop,
            tell=tell,
        )

    async def stored(self) -> list[Trajectory]:
        return [one async for one in self.store.select(Selection(tenant="collect"))]


Judge = Callable[[str, Sequence[Test]], Verdict]


@asynccontextmanager
async def collecting(engine: ScriptedEngine, folder: Path, judge: Judge | None = None) -> AsyncIterator[Rig]:
    store = await SqlTrajectoryStore.open(folder / "trajectories.sqlite")
    sandbox = ScriptedSandbox(judge or passes_if(lambda code: code.endswith("x + 1\n")))
    async with serving(engine.app()) as url, connected(url) as http:
        try:
            yield Rig(http, store, sandbox)
        finally:
            await store.aclose()


async def asked(engine: ScriptedEngine) -> None:
    """Returns once the engine was asked something."""
    for _ in range(1000):
        if engine.bodies:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the engine was never asked")


async def test_every_answer_is_kept_whole_with_its_verdict(tmp_path: Path) -> None:
    engine = ScriptedEngine(answer)
    async with collecting(engine, tmp_path) as rig:
        done = await rig.run(
            [problem("one"), problem("two", reference="def f(x): return x + 1", prelude="import math\n")]
        )
        first, second = sorted(await rig.stored(), key=lambda one: one.problem.id)
    assert (done.stored, done.attempts, done.passed, done.solved, done.refused) == (2, 8, 2, 2, {})
    assert second.problem == problem("two", reference="def f(x): return x + 1", prelude="import math\n")
    assert (first.tenant, first.consent, first.model_version, first.status) == ("collect", True, MODEL, "finished")
    kinds = [(one.origin, one.candidate.sampling.temperature) for one in first.attempts]
    assert kinds == [("first", 0.0), *[("sample", 1.0)] * 3]
    outcomes = [one.verdict.outcome for one in first.attempts if one.verdict]
    assert outcomes == [Outcome.FAILED_TEST, Outcome.FAILED_TEST, Outcome.PASSED, Outcome.FAILED_TEST]
    assert first.accepted == 2
    seeds = [one.candidate.sampling.seed or 0 for one in first.attempts]
    assert seeds[1:] == [seeds[0], seeds[0] + 1, seeds[0] + 2]
    for one in first.attempts:
        made = one.candidate
        assert made.sampling.top_p == 1.0 and made.sampling.min_p == 0.0 and made.sampling.max_tokens == 1024
        assert len(made.completion_ids) == len(made.logprobs) == made.completion_tokens > 0
        assert made.prompt_ids == (1, 2, 3, 4, 5)
        assert made.text[made.code_start : made.code_start + len(made.code)] == made.code
    for body in engine.bodies:
        assert body["logprobs"] and body["return_token_ids"] and body["top_p"] == 1.0
        assert body["messages"] == [{"role": "user", "content": body["messages"][0]["content"]}]
        assert "assert" not in str(body["messages"]), "hidden tests never leave"
    assert first.totals.completion_tokens == sum(one.candidate.completion_tokens for one in first.attempts)


async def test_what_is_stored_is_not_asked_again(tmp_path: Path) -> None:
    engine = ScriptedEngine(answer)
    async with collecting(engine, tmp_path) as rig:
        await rig.run([problem("one"), problem("two")])
        asked = len(engine.bodies)
        again = await rig.run([problem("two"), problem("three"), problem("one")])
        assert (again.before, again.stored, again.done) == (2, 1, 3) and len(engine.bodies) == asked + 2
        other = await rig.run([problem("one")], QUICK.model_copy(update={"seed": 1}))
        assert (other.before, other.stored) == (0, 1)
        one = [made for made in await rig.stored() if made.problem.id == "one"]
    assert len(one) == 2
    assert one[0].attempts[0].candidate.sampling.seed != one[1].attempts[0].candidate.sampling.seed


def test_the_id_is_that_of_the_question() -> None:
    base = trajectory_id(problem("one"), MODEL, QUICK)
    assert base == trajectory_id(problem("one", family="numbers"), MODEL, QUICK.model_copy(update={"streams": 9}))
    others = [
        trajectory_id(problem("two"), MODEL, QUICK),
        trajectory_id(problem("one"), "actor@1", QUICK),
        trajectory_id(problem("one"), MODEL, QUICK, "def f("),
        trajectory_id(problem("one"), MODEL, QUICK.model_copy(update={"temperature": 0.8})),
        trajectory_id(problem("one", hidden=(CodeTest(source="assert f(1)", runner="script"),)), MODEL, QUICK),
    ]
    assert len({base, *others}) == 6 and all(len(one) <= 64 for one in others)


async def test_the_engine_has_no_more_streams_than_allowed_and_rarely_fewer(tmp_path: Path) -> None:
    lengths = iter([30, 1, 1, 1] * 40)
    now, most, samples = 0, 0, []

    class Counting(ScriptedEngine):
        async def _frames(self, body: dict[str, Any]) -> AsyncIterator[str]:
            nonlocal now, most
            now += body.get("n") or 1
            most = max(most, now)
            finished = 0
            async for frame in ScriptedEngine._frames(self, body):
                ended = frame.count('"finish_reason": "stop"')
                finished, now = finished + ended, now - ended
                samples.append(now)
                yield frame
            now -= (body.get("n") or 1) - finished

    engine = Counting(lambda body, index: "word " * next(lengths), word_s=0.002)
    async with collecting(engine, tmp_path) as rig:
        await rig.run([problem(str(number)) for number in range(12)])
    assert 6 <= most <= 8


async def test_a_program_that_comes_again_is_run_once(tmp_path: Path) -> None:
    async with collecting(ScriptedEngine(lambda body, index: program("def f(x): return 0")), tmp_path) as rig:
        await rig.run([problem("one"), problem("two")])
        assert len(rig.sandbox.runs) == 2
        made = await rig.stored()
    assert all(one.verdict is not None for trajectory in made for one in trajectory.attempts)


async def test_an_answer_without_a_program_does_not_compile(tmp_path: Path) -> None:
    async with collecting(ScriptedEngine(lambda body, index: "I cannot."), tmp_path) as rig:
        await rig.run([problem("one")])
        assert rig.sandbox.runs == []
        [made] = await rig.stored()
    [verdict] = {one.verdict.outcome: one.verdict for one in made.attempts if one.verdict}.values()
    assert verdict.outcome is Outcome.COMPILE_ERROR and verdict.error is not None and verdict.error.type == "no_code"


async def test_answers_can_be_begun(tmp_path: Path) -> None:
    engine = ScriptedEngine(lambda body, index: "    return x + 1\n```\n")
    begun = "```python\ndef f(x):\n"
    async with collecting(engine, tmp_path, passes_if(lambda code: "x + 1" in code)) as rig:
        await rig.run([problem("one")], prefixes=lambda one: begun if one.id == "one" else "")
        [made] = await rig.stored()
    assert made.attempts[0].candidate.prefix == begun and made.attempts[0].candidate.text.startswith(begun)
    assert made.attempts[0].verdict is not None and made.attempts[0].verdict.outcome is Outcome.PASSED
    assert engine.bodies[0]["messages"][-1] == {"role": "assistant", "content": begun}
    assert engine.bodies[0]["stop"] == ["\n```\n"]


async def test_problems_without_a_trustworthy_judge_are_refused(tmp_path: Path) -> None:
    def judge(code: str, tests: Sequence[Test]) -> Verdict:
        raise BadTests("does not compile")

    beside = CodeTest(source="class T(C): pass", runner="unittest", in_process=True)
    async with collecting(ScriptedEngine(answer), tmp_path, judge) as rig:
        done = await rig.run([problem("none", hidden=()), problem("beside", hidden=(beside,)), problem("broken")])
        assert await rig.stored() == []
    assert done.done == 3 and done.stored == 0
    assert "no tests" in done.refused["none"] and "beside" in done.refused["beside"]
    assert "does not compile" in done.refused["broken"]


async def test_a_sandbox_that_only_fails_ends_the_run(tmp_path: Path) -> None:
    def judge(code: str, tests: Sequence[Test]) -> Verdict:
        fault = Fault(type="sandbox_error", message="no workers")
        return Verdict(id="", outcome=Outcome.SANDBOX_ERROR, passed=0, total=0, error=fault)

    async with collecting(ScriptedEngine(answer), tmp_path, judge) as rig:
        with pytest.raises(BadData, match="sandbox failed on every program for one: no workers"):
            await rig.run([problem("one")])
        assert await rig.stored() == []


async def test_humaneval_is_refused_by_name_of_the_guard(tmp_path: Path) -> None:
    problems = load(data_file("humaneval.jsonl.gz"))[:3]
    async with collecting(ScriptedEngine(answer), tmp_path) as rig:
        with pytest.raises(BadData, match=r"HumanEval/0.*memory/benchmarks\.py"):
            await rig.run([problem("one"), *problems])
        assert await rig.stored() == []
    renamed = Problem(id="mine", statement="Solve it.", reference=problems[0].reference)
    with pytest.raises(BadData, match="mine is HumanEval/0"):
        refuse_benchmarks([renamed])
    refuse_benchmarks(load(data_file("mbpp_train.jsonl.gz")))


async def test_an_engine_that_dies_leaves_what_is_done(tmp_path: Path) -> None:
    engine = ScriptedEngine(answer)
    one_at_a_time = CollectSettings(samples=1, greedy=False, streams=1, patience_s=0.4)

    def tell(collected: Collected) -> None:
        if collected.stored == 2:
            engine.fail_status = 503

    async with collecting(engine, tmp_path) as rig:
        problems = [problem(str(number)) for number in range(6)]
        with pytest.raises(EngineUnavailable, match="503"):
            await rig.run(problems, one_at_a_time, tell=tell)
        kept = len(await rig.stored())
        assert 2 <= kept <= 4
        engine.fail_status = None
        rest = await rig.run(problems, one_at_a_time)
    assert rest.before == kept and rest.stored == 6 - kept


async def test_a_short_failure_of_the_engine_is_waited_out(tmp_path: Path) -> None:
    engine = ScriptedEngine(answer, fail_status=503)
    async with collecting(engine, tmp_path) as rig:
        waiting = asyncio.create_task(rig.run([problem("one")], CollectSettings(samples=2, patience_s=20)))
        await asyncio.sleep(0.2)
        engine.fail_status = None
        done = await waiting
    assert done.stored == 1 and done.attempts == 3


async def test_an_answer_that_broke_off_is_made_again(tmp_path: Path) -> None:
    """Two of four were complete: they are kept once, the others come with their seeds in the second call."""

    def reply(body: dict[str, Any], index: int) -> str:
        engine.cut_after = 12 if len(engine.bodies) == 1 else None
        return "word " * (1 if index < 2 else 9)

    engine = ScriptedEngine(reply)
    async with collecting(engine, tmp_path) as rig:
        await rig.run([problem("one")], CollectSettings(samples=4, greedy=False, patience_s=20))
        [made] = await rig.stored()
    assert len(engine.bodies) == 2
    seeds = [one.candidate.sampling.seed or 0 for one in made.attempts]
    assert seeds == list(range(seeds[0], seeds[0] + 4))
    assert [one.candidate.text.split() for one in made.attempts] == [["word"]] * 2 + [["word"] * 9] * 2


async def test_a_wrong_model_ends_the_run_and_a_long_prompt_does_not(tmp_path: Path) -> None:
    engine = ScriptedEngine(answer, fail_status=400)
    async with collecting(engine, tmp_path) as rig:
        done = await rig.run([problem("one")])
        assert "400" in done.refused["one"]
        engine.fail_status = 404
        with pytest.raises(EngineRefused, match="404"):
            await rig.run([problem("one")])


async def test_an_engine_without_token_ids_is_refused(tmp_path: Path) -> None:
    class Plain(ScriptedEngine):
        async def _frames(self, body: dict[str, Any]) -> AsyncIterator[str]:
            async for frame in ScriptedEngine._frames(self, body):
                yield frame.replace("token_ids", "ignored")

    async with collecting(Plain(answer), tmp_path) as rig:
        with pytest.raises(BadData, match="token ids"):
            await rig.run([problem("one")])
        assert await rig.stored() == []


async def test_after_stop_what_is_under_way_is_finished(tmp_path: Path) -> None:
    engine, stop = ScriptedEngine(answer, word_s=0.01), asyncio.Event()
    async with collecting(engine, tmp_path) as rig:
        problems = [problem(str(number)) for number in range(30)]
        done = await rig.run(problems, stop=stop, tell=lambda collected: stop.set() if collected.stored else None)
        assert done.stopped and 1 <= done.stored == len(await rig.stored()) <= 4
        assert engine.running == 0 and engine.aborted == 0


async def test_the_loop_leaves_repair_turns_judged_by_the_hidden_tests(tmp_path: Path) -> None:
    def reply(body: dict[str, Any], index: int) -> str:
        repairing = len(body["messages"]) > 2
        return program(f"def f(x): return x + {1 if repairing else 5}\n")

    def judge(code: str, tests: Sequence[Test]) -> Verdict:
        visible = not any(isinstance(test, CodeTest) for test in tests)
        return passes_if(lambda text: "x + 1" in text and not visible)(code, tests)

    wanted = Problem(
        id="one",
        statement="Complete this.\n```python\ndef f(x):\n    '''One more.\n    >>> f(1)\n    2\n    '''\n```",
        entry_point="f",
        hidden=(CodeTest(source="def check(c): assert c(3) == 4", runner="check"),),
    )
    settings = CollectSettings(loop=True, loop_candidates=8, loop_rounds=2, streams=8)
    async with collecting(ScriptedEngine(reply), tmp_path, judge) as rig:
        done = await rig.run([wanted], settings)
        [made] = await rig.stored()
        assert (await rig.run([wanted], settings)).before == 1
    assert made.problem.visible and made.problem.visible_source is TestSource.PROMPT
    assert made.problem.hidden == wanted.hidden and made.rounds == 1
    repairs = [one for one in made.attempts if one.origin == "repair"]
    assert repairs and repairs[0].parent is not None and done.passed == len(repairs)
    for one in made.attempts:
        assert one.verdict is not None and one.verdict.total == 1
        assert (one.verdict.outcome is Outcome.PASSED) == (one.origin == "repair"), "the visible test says otherwise"


async def test_a_policy_is_named_and_the_key_is_sent() -> None:
    engine = ScriptedEngine(answer)
    async with serving(engine.app()) as url, connected(f"{url}/v1", api_key="secret") as http:
        assert await named(http, None) == MODEL and await named(http, "actor@1") == "actor@1"
        with pytest.raises(BadData, match=r"no policy named 'burnish'.*actor@1"):
            await named(http, "burnish")
        assert http.headers["authorization"] == "Bearer secret"
    async with connected("http://127.0.0.1:9") as http:
        with pytest.raises(EngineUnavailable, match="no engine answers at"):
            await named(http, None)


async def test_a_burnish_server_passes_on_what_training_needs(tmp_path: Path) -> None:
    """Ids, log-probabilities and sampling parameters go through it unchanged; the key is the server's alone."""
    engine = ScriptedEngine(answer)
    store = await SqlTrajectoryStore.open(tmp_path / "collected.sqlite")
    async with running(tmp_path, engine, http={"api_keys": ["secret"]}) as server:
        async with connected(server.url, "wrong") as http:
            with pytest.raises(EngineRefused, match="401"):
                await named(http, None)
        async with connected(server.url, "secret") as http:
            for model in (await named(http, None), await named(http, "actor@1")):
                policy, sandbox = EnginePolicy(http, lambda: True), ScriptedSandbox(passes_if(lambda code: True))
                done = await collect([problem("one")], model, QUICK, policy=policy, sandbox=sandbox, store=store)
                assert done.attempts == 4
    made = {one.model_version: one async for one in store.select(Selection())}
    await store.aclose()
    assert set(made) == {MODEL, "actor@1"}
    for attempt in made["actor@1"].attempts:
        one = attempt.candidate
        assert one.prompt_ids == (1, 2, 3, 4, 5) and one.sampling.model == "actor@1"
        assert len(one.completion_ids) == len(one.logprobs) > 0
    asked_for = [body for body in engine.bodies if body["model"] == "actor@1"]
    assert sorted(body.get("n", 1) for body in asked_for) == [1, 3]
    for body in asked_for:
        assert body["return_token_ids"] and body["logprobs"] and (body["top_k"], body["min_p"]) == (0, 0.0)
    assert not any("secret" in header for headers in engine.headers for header in headers.values())


def test_settings_that_ask_for_nothing_or_too_much_are_refused() -> None:
    with pytest.raises(ValidationError, match="nothing would be asked"):
        CollectSettings(samples=0, greedy=False)
    with pytest.raises(ValidationError, match="streams must be at least samples"):
        CollectSettings(samples=33)


async def test_in_the_real_sandbox_from_the_command_line(tmp_path: Path) -> None:
    """Two problems of MBPP: their references pass; Ctrl-C keeps what is done and the same command goes on."""
    references = {one.id: one for one in load(data_file("mbpp_train.jsonl.gz"))[1:5]}
    file = tmp_path / "problems.jsonl"
    rows = gzip.decompress(data_file("mbpp_train.jsonl.gz").read_bytes()).decode().splitlines()
    file.write_text("\n".join(rows[1:5]))

    def reply(body: dict[str, Any], index: int) -> str:
        question = next(one for one in references.values() if one.statement == body["messages"][0]["content"])
        return f"```python\n{question.reference}\n```"

    engine = ScriptedEngine(reply, word_s=0.01)
    async with serving(engine.app()) as url:
        command = [sys.executable, "-m", "training", "collect", str(file), "--url", url, "--data-dir", str(tmp_path)]
        command += ["--samples", "1", "--streams", "1", "--workers", "1"]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("BURNISH_")}

        async def start() -> asyncio.subprocess.Process:
            return await asyncio.create_subprocess_exec(
                *command, stderr=asyncio.subprocess.PIPE, env=environment, cwd=Path(__file__).parents[2]
            )

        child = await start()
        await asked(engine)
        child.send_signal(signal.SIGINT)
        _, said = await child.communicate()
        assert child.returncode == 1 and '"stopped": true' in said.decode(), said.decode()
        store = await SqlTrajectoryStore.open(tmp_path / "trajectories.sqlite")
        kept = [one async for one in store.select(Selection())]
        assert 1 <= len(kept) < 4
        child = await start()
        _, said = await child.communicate()
        assert child.returncode == 0, said.decode()
        every = [one async for one in store.select(Selection())]
        await store.aclose()
    assert len(every) == 4
    for trajectory in every:
        for attempt in trajectory.attempts:
            verdict = attempt.verdict
            assert verdict is not None and (verdict.outcome, verdict.passed) == (Outcome.PASSED, 3)
            assert verdict.executed and verdict.integrity == "isolated"


async def test_helpers_of_the_tests_are_there_though_the_program_does_not_use_them(tmp_path: Path) -> None:
    """LeetCode's tests build lists with a helper from the prelude."""
    wanted = next(one for one in load(data_file("leetcode_train.jsonl.gz")) if "list_node(" in repr(one.hidden))
    store = await SqlTrajectoryStore.open(tmp_path / "trajectories.sqlite")
    engine = ScriptedEngine(lambda body, index: f"```python\n{wanted.reference}\n```")
    async with (
        serving(engine.app()) as url,
        connected(url) as http,
        await WorkerPool.start(SandboxSettings(workers=1)) as sandbox,
    ):
        policy = EnginePolicy(http, lambda: True)
        settings = CollectSettings(samples=0)
        done = await collect([wanted], MODEL, settings, policy=policy, sandbox=sandbox, store=store)
    await store.aclose()
    assert done.passed == 1
