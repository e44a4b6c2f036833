"""Models, health, metrics, execution, trajectories, feedback; and what happens when a part fails."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from agent.sandbox.pool import WorkerPool
from memory.errors import StoreUnavailable
from memory.records import Trajectory
from memory.trajectories import SqlTrajectoryStore
from server.app import create_app
from server.metrics import Metrics
from server.outbox import Outbox
from tests.scripted_engine import MODEL, ScriptedEngine, serving
from tests.server.conftest import Running, running, settings_for
from tests.test_records import trajectory


async def test_models(server: Running) -> None:
    async with server.http as http:
        listing = (await http.get("/v1/models")).json()
        assert [entry["id"] for entry in listing["data"]] == ["burnish", MODEL, "actor@1"]
        assert listing["first_id"] == "burnish" and listing["has_more"] is False
        assert listing["data"][0]["max_model_len"] == 4096
        assert (await http.get(f"/v1/models/{MODEL}")).json()["parent"] is None
        assert (await http.get("/v1/models/actor@1")).json()["parent"] == MODEL
        assert (await http.get("/v1/models/none")).status_code == 404
    async with server.openai as client:
        assert (await client.models.list()).data[0].id == "burnish"


async def test_health_ready_version_metrics(server: Running) -> None:
    await server.chat()
    async with server.http as http:
        assert (await http.get("/")).status_code == (await http.head("/")).status_code == 200
        assert (await http.get("/health")).json() == {"status": "ok"}
        ready = (await http.get("/ready")).json()
        assert ready["ready"] and ready["isolation"].startswith("A")
        assert (await http.get("/version")).json()["model"] == MODEL
        text = (await http.get("/metrics")).text
    assert 'burnish_verdicts_total{tests_source="prompt",verdict="passed"}' in text
    assert "vllm:num_requests_running 0.0" in text
    assert "burnish_overhead_seconds_bucket" in text


async def test_without_an_engine(tmp_path: Path) -> None:
    app = create_app(settings_for(tmp_path, "http://127.0.0.1:9"))
    async with serving(app) as url:
        server = Running(url, ScriptedEngine(), app)
        async with server.http as http:
            assert (await http.get("/v1/models")).json()["data"][0]["id"] == "burnish"
            ready = await http.get("/ready")
            assert ready.status_code == 503 and "engine" in ready.json()["failing"]
        response = await server.chat()
        assert response.status_code == 503
        assert response.json()["error"]["code"] == "engine_not_ready"
        assert 1 <= int(response.headers["retry-after"]) <= 120


async def test_execute(server: Running) -> None:
    async with server.http as http:
        good = await http.post(
            "/burnish/execute",
            json={"id": "a", "code": "def f(x):\n    return x + 1\n", "tests": "assert f(1) == 2\nassert f(2) == 4"},
        )
        verdict = good.json()
        assert good.status_code == 200
        assert verdict["id"] == "a" and verdict["outcome"] == "failed_test"
        assert (verdict["passed"], verdict["total"]) == (1, 2)
        keys = "id outcome passed total cases error executed_lines stdout stderr seconds peak_mb"
        assert set(verdict) == set(keys.split())
        assert verdict["cases"][1]["expected"] == "4" and verdict["cases"][1]["actual"] == "3"
        assert verdict["executed_lines"] == [1, 2]
        for body in ({}, {"code": 1}, {"code": "x", "tests": "assert f("}, {"code": "x", "limits": {"cpu": 1}}):
            bad = await http.post("/burnish/execute", json=body)
            assert bad.status_code == 400, bad.text


async def test_execute_in_other_languages(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    tests = [{"call": "f({a: 1})", "expected": [1]}]
    async with server.http as http:
        unknown = await http.post("/burnish/execute", json={"code": "", "language": "cobol"})
        assert (unknown.status_code, unknown.json()["error"]["param"]) == (400, "language")
        assert "python, javascript, typescript, cpp" in unknown.json()["error"]["message"]
        asserts = await http.post("/burnish/execute", json={"code": "", "language": "js", "tests": "assert f(1) == 2"})
        assert (asserts.status_code, asserts.json()["error"]["param"]) == (400, "tests")
        lacking = await http.post("/burnish/execute", json={"code": "", "language": "js", "tests": tests})
        assert (lacking.status_code, lacking.json()["outcome"]) == (200, "sandbox_error")
        assert "install Node.js" in lacking.json()["error"]["message"]


async def test_execute_ends_when_its_client_leaves(server: Running) -> None:
    body = {
        "code": "def f():\n    while True: pass\n",
        "tests": "assert f() == 1",
        "limits": {"cpu_seconds": 60, "cpu_seconds_per_test": 60},
    }
    quick = {"code": "def f(): return 1", "tests": "assert f() == 1"}
    async with server.http as http:
        for _ in range(4):
            with pytest.raises(httpx.ReadTimeout):
                await http.post("/burnish/execute", json=body, timeout=0.5)
        done = await http.post("/burnish/execute", json=quick, timeout=10)
        assert done.json()["outcome"] == "passed"


async def test_execute_refuses_when_too_much_waits(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WorkerPool, "waiting", property(lambda pool: 10**6))
    async with server.http as http:
        refused = await http.post("/burnish/execute", json={"code": "x = 1"})
    assert refused.status_code == 503 and refused.json()["error"]["code"] == "overloaded"
    assert int(refused.headers["retry-after"]) >= 1


async def test_trajectories_and_feedback(server: Running) -> None:
    trajectory_id = (await server.chat()).json()["burnish"]["trajectory_id"]
    async with server.http as http:
        listing = (await http.get("/burnish/trajectories", params={"limit": 1})).json()
        assert listing["data"][0]["id"] == trajectory_id and listing["data"][0]["outcome"] == "passed"
        assert (await http.get("/burnish/trajectories", params={"limit": 0})).status_code == 400
        said = await http.post(
            "/burnish/feedback", json={"trajectory_id": trajectory_id, "accepted": False, "comment": "no"}
        )
        assert said.status_code == 200
        whole = (await http.get(f"/burnish/trajectories/{trajectory_id}")).json()
        assert whole["feedback"][0]["accepted"] is False
        attempt = whole["attempts"][0]
        assert attempt["candidate"]["sampling"]["model"] == MODEL
        assert attempt["candidate"]["prompt_ids"] == [1, 2, 3, 4, 5]
        assert len(attempt["candidate"]["completion_ids"]) == len(attempt["candidate"]["logprobs"]) > 0
        assert (await http.get("/burnish/trajectories/none")).status_code == 404
        unknown = await http.post("/burnish/feedback", json={"trajectory_id": "none", "accepted": True})
        assert unknown.status_code == 404
        bad = await http.post("/burnish/feedback", json={"trajectory_id": "x"})
        assert bad.status_code == 400


async def test_a_restart_still_knows_the_old_trajectories(tmp_path: Path) -> None:
    engine = ScriptedEngine(reply=lambda body, index: "```python\ndef add(a, b):\n    return a + b\n```")
    async with running(tmp_path, engine) as server:
        trajectory_id = (await server.chat()).json()["burnish"]["trajectory_id"]
    async with running(tmp_path, engine) as server, server.http as http:
        assert (await http.get(f"/burnish/trajectories/{trajectory_id}")).json()["accepted"] == 0


class BrokenStore(SqlTrajectoryStore):
    """A store whose disk is full until it is mended."""

    broken = True

    async def append(self, trajectory: Trajectory) -> None:
        if self.broken:
            raise StoreUnavailable("disk full")
        await super().append(trajectory)

    async def all_ids(self) -> Sequence[str]:
        return [row.id for row in await self.newest(10)]


async def test_a_failing_store_fails_no_answer_and_catches_up(server: Running, tmp_path: Path) -> None:
    store = BrokenStore(f"sqlite:///{tmp_path / 'db.sqlite'}")
    await (await SqlTrajectoryStore.open(tmp_path / "db.sqlite")).aclose()
    outbox = Outbox(store, Metrics())
    assert await outbox.put(trajectory("one")) is False
    store.broken = False
    assert await outbox.put(trajectory("two")) is True
    await outbox.aclose()
    assert set(await store.all_ids()) == {"one", "two"}
    await store.aclose()
    await asyncio.sleep(0)
