"""The server remembers: real stores, real embedding model, real sandbox, scripted engine."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from server.__main__ import app
from tests.scripted_engine import ScriptedEngine
from tests.server.conftest import Running, running

ASK = "Write a Python function plus(a, b) that returns the sum of two numbers.\n\nassert plus(1, 1) == 2\n"
OTHERWISE = (
    "I need a Python function plus(a, b) which gives the sum of two numbers."
    "\n\nassert plus(2, 3) == 5\nassert plus(0, 4) == 4\n"
)
RIGHT = "```python\ndef plus(a, b):\n    return a + b\n```"
WRONG = "```python\ndef plus(a, b):\n    return a * b\n```"
KEYS = ["key-of-team", "key-of-others"]


@asynccontextmanager
async def remembering(tmp_path: Path, *replies: str, **more: Any) -> AsyncIterator[Running]:
    """Answers each chat with the next reply, then with the last one."""
    left = [*replies]
    engine = ScriptedEngine(reply=lambda body, index: left.pop(0) if len(left) > 1 else left[0])
    async with running(tmp_path, engine, memory={"reuse": 0.6, "patience_s": 30}, **more) as server:
        yield server


async def asked(server: Running, text: str, **more: Any) -> dict[str, Any]:
    response = await server.chat(messages=[{"role": "user", "content": text}], **more)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def memory(server: Running, method: str, path: str = "", **more: Any) -> Any:
    async with server.http as http:
        response = await http.request(method, f"/burnish/memory{path}", **more)
    assert response.status_code == 200, response.text
    return response


async def settled(server: Running) -> dict[str, Any]:
    """What is remembered, once everything answered was learned."""
    assert server.parts.memory is not None
    await server.parts.memory.learning.withdraw("traj_of_nobody", "local")
    stats: dict[str, Any] = (await memory(server, "GET")).json()
    return stats


async def test_what_was_solved_once_is_answered_at_no_tokens(tmp_path: Path) -> None:
    async with remembering(tmp_path, RIGHT, WRONG) as server:
        first = await asked(server, ASK)
        assert (await settled(server))["solutions"] == 1
        again = await asked(server, OTHERWISE, burnish={"trace": True})
        assert first["burnish"]["tokens"]["completion"] > 0 == again["burnish"]["tokens"]["completion"]
        assert again["burnish"]["verdict"] == "passed" and again["burnish"]["tests"]["total"] == 2
        assert "return a + b" in again["choices"][0]["message"]["content"]
        assert [attempt["origin"] for attempt in again["burnish"]["attempts"]] == ["recalled"]
        stats = await settled(server)
        assert (stats["solutions"], stats["shown"], stats["helped"]) == (1, 1, 1)
        without = await asked(server, OTHERWISE, burnish={"memory": False, "max_candidates": 1})
        assert without["burnish"]["verdict"] == "failed"


async def test_memory_outlives_the_server(tmp_path: Path) -> None:
    async with remembering(tmp_path, RIGHT) as server:
        await asked(server, ASK)
    async with remembering(tmp_path, WRONG) as server:
        assert (await asked(server, OTHERWISE))["burnish"]["verdict"] == "passed"


@pytest.mark.parametrize("rejected", ["the answer itself", "the answer from memory"])
async def test_a_rejected_answer_is_withdrawn(tmp_path: Path, rejected: str) -> None:
    async with remembering(tmp_path, RIGHT, WRONG) as server:
        answer = await asked(server, ASK)
        if rejected == "the answer from memory":
            await settled(server)
            answer = await asked(server, OTHERWISE)
        async with server.http as http:
            body = {"trajectory_id": answer["burnish"]["trajectory_id"], "accepted": False}
            assert (await http.post("/burnish/feedback", json=body)).status_code == 200
        assert (await settled(server))["solutions"] == 0
        again = await asked(server, OTHERWISE, burnish={"max_candidates": 1})
        assert again["burnish"]["verdict"] == "failed"


async def test_a_failure_on_the_way_becomes_a_lesson(tmp_path: Path) -> None:
    async with remembering(tmp_path, WRONG, RIGHT) as server:
        assert (await asked(server, ASK))["burnish"]["verdict"] == "passed"
        assert (await settled(server))["lessons"] == 1
        found = (
            await memory(server, "GET", "/search", params={"q": "failed_test: expected 2, got 1", "kind": "lesson"})
        ).json()
        (hit,) = found["data"]
        assert "+    return a + b" in hit["experience"]["fix"] and hit["experience"]["error"] == "failed_test"


async def test_nobody_meets_what_is_another_s(tmp_path: Path) -> None:
    async with remembering(tmp_path, RIGHT, WRONG, http={"api_keys": KEYS}) as server:
        team, others = ({"authorization": f"Bearer {key}"} for key in KEYS)
        async with server.http as http:

            async def ask(text: str, key: dict[str, str]) -> Any:
                body = {
                    "model": "burnish",
                    "messages": [{"role": "user", "content": text}],
                    "burnish": {"max_candidates": 1},
                }
                response = await http.post("/v1/chat/completions", json=body, headers=key)
                assert response.status_code == 200, response.text
                return response.json()["burnish"]

            assert (await ask(ASK, team))["verdict"] == "passed"
            await settled_as(server)
            assert (await ask(OTHERWISE, others))["verdict"] == "failed"
            assert (await http.get("/burnish/memory", headers=others)).json()["solutions"] == 0
            found = await http.get("/burnish/memory/search", params={"q": "sum of two numbers"}, headers=others)
            assert found.json()["data"] == []
            assert (await http.get("/burnish/memory/export", headers=others)).text == ""
            assert (await http.post("/burnish/memory/purge", json={}, headers=others)).json()["experiences"] == 0
            assert (await ask(OTHERWISE, team))["verdict"] == "passed"
            assert (await http.get("/burnish/memory")).status_code == 401


async def settled_as(server: Running) -> None:
    assert server.parts.memory is not None
    await server.parts.memory.learning.withdraw("traj_of_nobody", "nobody")


async def test_out_and_in_again(tmp_path: Path) -> None:
    async with remembering(tmp_path / "one", RIGHT) as server:
        await asked(server, ASK)
        await settled(server)
        lines = (await memory(server, "GET", "/export")).text.splitlines()
        assert len(lines) == 1 and json.loads(lines[0])["gist"].startswith("plus: Write a Python function")
    async with remembering(tmp_path / "two", WRONG) as server:
        for added in (1, 0):
            told = (await memory(server, "POST", "/import", json={"lines": lines})).json()
            assert (told["added"], told["known"], told["refused"]) == (added, 1 - added, [])
        assert (await asked(server, OTHERWISE))["burnish"]["verdict"] == "passed"


async def test_only_programs_that_pass_their_tests_come_in(tmp_path: Path) -> None:
    def line(**fields: Any) -> str:
        return json.dumps(
            {"task": "Add two numbers with plus(a, b).", "code": "def plus(a, b):\n    return a + b", **fields}
        )

    lines = [
        line(tests="assert plus(1, 2) == 3"),
        line(tests="assert plus(1, 2) == 4"),
        line(code="def minus(a, b):\n    return a - b"),
        line(tests="assert"),
        line(color="red"),
        "{",
        '{"kind": "solution"}',
    ]
    async with remembering(tmp_path, WRONG) as server:
        told = (await memory(server, "POST", "/import", json={"lines": lines})).json()
        assert told["added"] == 1 and [one["line"] for one in told["refused"]] == [2, 3, 4, 5, 6, 7]
        assert "does not pass its tests" in told["refused"][0]["reason"]
        trusted = (await memory(server, "POST", "/import", json={"lines": lines[2:3], "trust": True})).json()
        assert trusted["added"] == 1


async def test_a_purge_leaves_nothing_in_any_file(tmp_path: Path) -> None:
    secret = "quetzalcoatlus"
    async with remembering(tmp_path, RIGHT.replace("plus", secret)) as server:
        answer = await asked(server, ASK.replace("plus", secret))
        assert answer["burnish"]["verdict"] == "passed"
        await settled(server)
        told = (await memory(server, "POST", "/purge", json={})).json()
        assert (told["experiences"], told["trajectories"]) == (1, 1) and told["recent"] >= 1
        async with server.http as http:
            found = await http.get(f"/burnish/trajectories/{answer['burnish']['trajectory_id']}")
            assert found.status_code == 404
    assert files_with(secret, tmp_path) == []


def files_with(text: str, folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file() and text.encode() in file.read_bytes()]


async def test_without_memory_the_endpoints_say_so(server: Running) -> None:
    async with server.http as http:
        response = await http.get("/burnish/memory")
    assert response.status_code == 503 and "memory.enabled is false" in response.json()["error"]["message"]


def test_the_command_works_on_a_data_directory(tmp_path: Path) -> None:
    def burnish(*words: str, status: int = 0, given: str | None = None) -> str:
        result = CliRunner().invoke(app, ["memory", *words, "--data-dir", str(tmp_path)], input=given)
        assert result.exit_code == status, result.output
        return result.stdout

    snippet = {"task": "Add two numbers with plus(a, b).", "code": "def plus(a, b):\n    return a + b"}
    lines = "\n".join(json.dumps({**snippet, "tests": f"assert plus(1, 2) == {total}"}) for total in (3, 4))
    assert "1 remembered" in burnish("import", "-", status=1, given=lines)
    assert json.loads(burnish("stats", "--json"))["solutions"] == 1
    assert "return a + b" in burnish("search", "the sum of two numbers: plus")
    assert json.loads(burnish("search", "the sum of two numbers: plus", "--tenant", "others", "--json")) == []
    assert json.loads(burnish("export"))["code"].startswith("def plus")
    assert "say what" in CliRunner().invoke(app, ["memory", "purge", "--data-dir", str(tmp_path)]).output
    assert burnish("purge", "--tenant", "others") == "forgotten: 0 experiences, 0 trajectories\n"
    assert burnish("purge", "--until", "2000-01-01") == "forgotten: 0 experiences, 0 trajectories\n"
    assert burnish("purge", "--all") == "forgotten: 1 experiences, 0 trajectories\n"
    assert burnish("export") == ""
