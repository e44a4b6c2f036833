"""Records and the store that keeps them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from memory.errors import StoreUnavailable
from memory.experience import Selection
from memory.records import (
    AssertTest,
    Attempt,
    CallTest,
    CaseResult,
    CodeTest,
    Fault,
    Outcome,
    Problem,
    StdioTest,
    TestSource,
    Totals,
    Trajectory,
    Verdict,
)
from memory.trajectories import Feedback, SqlTrajectoryStore
from memory.wire import from_json, to_json
from tests.fakes import candidate, program


def trajectory(trajectory_id: str = "traj_1", started: float = 1.0, tenant: str = "local") -> Trajectory:
    verdict = Verdict(
        id="v",
        outcome=Outcome.RUNTIME_ERROR,
        passed=0,
        total=1,
        cases=(CaseResult(name="f(1)", outcome=Outcome.RUNTIME_ERROR, message="boom", seconds=0.5),),
        error=Fault(type="ValueError", message="boom\x00\ud800", line=1, span=(1, 0, 1, 9), traceback="…"),
        executed_lines=(1, 2),
    )
    problem = Problem(
        id=trajectory_id,
        statement="Write ☃",
        visible=(
            AssertTest(source="assert f(1)"),
            CallTest(call="f(1)", expected="2", from_json=True),
            StdioTest(stdin="1", stdout="2"),
            CodeTest(source="def check(c): pass", runner="check"),
        ),
        visible_source=TestSource.REQUEST,
    )
    attempt = Attempt(candidate=candidate(program("x = 1")), verdict=verdict, origin="first", round=0)
    return Trajectory(
        id=trajectory_id,
        problem=problem,
        attempts=(attempt, Attempt(candidate=candidate("no"), verdict=None, origin="repair", round=1, parent=0)),
        accepted=0,
        status="finished",
        model_version="base",
        tenant=tenant,
        consent=False,
        started=started,
        ended=started + 1,
        rounds=1,
        totals=Totals(prompt_tokens=3, completion_tokens=4, total_seconds=1.0),
    )


def test_a_record_comes_back_from_json_as_it_was() -> None:
    whole = trajectory()
    assert from_json(Trajectory, to_json(whole)) == whole


async def test_the_store_keeps_finds_and_pages(tmp_path: Path) -> None:
    store = await SqlTrajectoryStore.open(tmp_path / "db.sqlite")
    for number in range(5):
        await store.append(trajectory(f"t{number}", float(number), tenant="a" if number % 2 else "b"))
    await store.append(trajectory("t3", 99.0))
    assert await store.get("t3") == trajectory("t3", 3.0, tenant="a"), "the same id again changes nothing"
    assert await store.get("none") is None and await store.get("t3", tenant="b") is None
    assert [row.id for row in await store.newest(2)] == ["t4", "t3"]
    assert [row.id for row in await store.newest(9, before=3.0, tenant="b")] == ["t2", "t0"]
    assert (await store.newest(1))[0].outcome == "runtime_error"
    said = Feedback(accepted=True, comment=None, time=5.0)
    assert await store.add_feedback("t1", said, tenant="a")
    assert not await store.add_feedback("t1", said, tenant="b") and not await store.add_feedback("none", said)
    assert list(await store.feedback("t1")) == [said]
    await store.check()
    await store.aclose()


async def test_a_selection_is_read_oldest_first_and_whole(tmp_path: Path) -> None:
    store = await SqlTrajectoryStore.open(tmp_path / "db.sqlite")
    for number in range(70):
        made = trajectory(f"t{number:02}", float(number // 3), tenant="a" if number % 2 else "b")
        await store.append(replace(made, model_version="base" if number < 60 else "actor@1"))
    every = [one.id async for one in store.select(Selection())]
    assert every == [f"t{number:02}" for number in range(70)], "equal times do not lose a row between two reads"
    later = store.select(Selection(tenant="a", since=15.0, until=22.0), model_version="actor@1")
    assert [one.id async for one in later] == ["t61", "t63", "t65"]
    assert [one.id async for one in store.select(Selection(trajectory_id="t07"))] == ["t07"]
    first = await anext(aiter(store.select(Selection())))
    assert first == trajectory("t00", 0.0, tenant="b")
    assert await store.known(["t03", "nothing", "t69"]) == {"t03", "t69"} and await store.known([]) == set()
    await store.aclose()


async def test_a_store_that_cannot_be_opened_says_which(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="nowhere"):
        await SqlTrajectoryStore.open(tmp_path / "nowhere" / "db.sqlite")


async def test_kill_minus_nine_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """The child prints an id once `append` has returned, and kills itself in the middle of the next one."""
    program_text = """
        import asyncio, os, signal, sys, threading
        from memory.trajectories import SqlTrajectoryStore
        from tests.test_records import trajectory

        async def main():
            store = await SqlTrajectoryStore.open(sys.argv[1])
            for number in range(40):
                if number == 30:
                    threading.Timer(0.002, os.kill, (os.getpid(), signal.SIGKILL)).start()
                await store.append(trajectory(f"t{number}", float(number)))
                print(f"t{number}", flush=True)

        asyncio.run(main())
    """
    database = tmp_path / "db.sqlite"
    child = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", textwrap.dedent(program_text), f"sqlite:///{database}"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[1],
    )
    acknowledged = child.stdout.split()
    assert child.returncode == -9 and len(acknowledged) >= 30, child.stderr
    store = await SqlTrajectoryStore.open(database)
    kept = {row.id for row in await store.newest(100)}
    await store.aclose()
    assert set(acknowledged) <= kept
