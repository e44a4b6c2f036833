"""`burnish adapters` against the real server over a scripted engine with adapters."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from server.__main__ import app
from server.cli.common import CommandError
from tests.lora_engine import LoraEngine, published
from tests.scripted_engine import MODEL
from tests.server.conftest import running

SECRET = 424242
"""Stands in every hidden test and must never be seen by the engine."""
PROBLEMS = 60


def problem_file(folder: Path) -> Path:
    """Problems `plus_0`, `plus_1`, …"""
    rows = [
        {
            "task_id": f"Plus/{number}",
            "prompt": f'def plus_{number}(x: int) -> int:\n    """ Add {number}.\n    """\n',
            "entry_point": f"plus_{number}",
            "test": f"def check(candidate):\n    assert candidate({SECRET}) == {SECRET + number}\n",
        }
        for number in range(PROBLEMS)
    ]
    path = folder / "held_out.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def knows(solved: dict[str, int]) -> Any:
    """A model solves the first so many problems."""

    def reply(body: dict[str, Any], index: int) -> str:
        number = int(body["messages"][0]["content"].partition("plus_")[2].partition("(")[0])
        right = number < solved[body["model"]] and index % 2 == 0
        return f"```python\ndef plus_{number}(x):\n    return x + {number}{'' if right else ' + 1'}\n```"

    return reply


@dataclass
class Served:
    url: str
    engine: LoraEngine
    data_dir: Path

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, ["adapters", *arguments, "--url", self.url])


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A server in another thread, so that commands can be called as a person calls them."""
    monkeypatch.setenv("BURNISH_DATA_DIR", str(tmp_path / "here"))
    engine = LoraEngine(reply=knows({MODEL: 20}))
    ready, stop = threading.Event(), threading.Event()
    found: list[str] = []

    async def serve() -> None:
        async with running(tmp_path, engine) as server:
            found.append(server.url)
            ready.set()
            while not stop.is_set():  # noqa: ASYNC110 (set by another thread)
                await asyncio.sleep(0.02)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(60)
    try:
        yield Served(found[0], engine, tmp_path)
    finally:
        stop.set()
        thread.join()


def failure(result: Result) -> CommandError:
    assert isinstance(result.exception, CommandError), result.output
    return result.exception


def test_publish_measures_and_promotes_and_rollback_takes_one_command(served: Served, tmp_path: Path) -> None:
    published(tmp_path)
    served.engine.reply = knows({MODEL: 20, "actor@1": 40})
    file = problem_file(tmp_path)
    result = served.run("publish", "actor@1", "--problems", str(file), "--json")
    assert result.exit_code == 0, result.output
    entry = json.loads(result.stdout)
    assert entry["state"] == "live" and entry["gate"]["problems"] == PROBLEMS
    assert entry["gate"]["difference"]["estimate"] == pytest.approx(20 / PROBLEMS)
    assert str(SECRET) not in json.dumps(served.engine.bodies)
    assert {body["temperature"] for body in served.engine.bodies} == {0.0}
    listing = served.run("list")
    assert listing.exit_code == 0 and "actor@1      live" in listing.stdout and f"base: {MODEL}" in listing.stdout
    back = served.run("rollback")
    assert back.exit_code == 0 and back.stdout == f"actor@1 is rolled back; {MODEL} answers now\n"
    assert failure(served.run("rollback")).status == 1


def test_a_worse_version_is_refused_and_nothing_changes(served: Served, tmp_path: Path) -> None:
    published(tmp_path)
    served.engine.reply = knows({MODEL: 40, "actor@1": 20})
    error = failure(served.run("publish", "actor@1", "--problems", str(problem_file(tmp_path))))
    assert error.status == 1 and "the gate refuses actor@1" in str(error) and "may be worse" in str(error)
    listing = json.loads(served.run("list", "--json").stdout)
    assert listing["live"] == {"actor": None, "critic": None}
    assert listing["data"][0]["state"] == "refused" and listing["data"][0]["gate"]["promote"] is False


def test_answers_are_kept_for_the_next_time(served: Served, tmp_path: Path) -> None:
    published(tmp_path)
    published(tmp_path, shift=0.8)
    served.engine.reply = knows({MODEL: 20, "actor@1": 10, "actor@2": 40})
    file = problem_file(tmp_path)
    failure(served.run("publish", "actor@1", "--problems", str(file)))
    before = len(served.engine.bodies)
    assert before == 2 * PROBLEMS
    assert served.run("publish", "actor@2", "--problems", str(file)).exit_code == 0
    assert len(served.engine.bodies) == before + PROBLEMS


def test_no_gate_stops_when_it_is_proved_and_force_goes_on(served: Served, tmp_path: Path) -> None:
    published(tmp_path)
    result = served.run("publish", "actor@1", "--no-gate")
    assert result.exit_code == 0 and "actor@1 is proved" in result.stdout
    assert served.engine.bodies == []
    result = served.run("promote", "actor@1", "--force")
    assert result.exit_code == 0 and "actor@1 is live" in result.stdout


def test_a_report_from_elsewhere_promotes(served: Served, tmp_path: Path) -> None:
    published(tmp_path)
    results = [{"problem": str(n), "against": n < 20, "candidate": n < 40} for n in range(60)]
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"candidate": "actor@1", "against": MODEL, "results": results}))
    result = served.run("promote", "actor@1", "--report", str(report))
    assert result.exit_code == 0 and "actor@1 is live: 40 of 60 problems solved" in result.stdout


def test_what_is_not_proved_stops_before_the_gate(served: Served, tmp_path: Path) -> None:
    published(tmp_path, weights=-0.5)
    error = failure(served.run("publish", "actor@1", "--problems", str(problem_file(tmp_path))))
    assert error.status == 1 and "other weights" in str(error)
    assert served.engine.bodies == []


def test_a_critic_is_measured_by_what_it_puts_first(served: Served, tmp_path: Path) -> None:
    published(tmp_path, "critic")
    served.engine.reply = knows({MODEL: 60})
    served.engine.weights = {"passed": 0.4, "failed": 0.3, "crashes": 0.2, "invalid": 0.1}
    result = served.run("publish", "critic@1", "--problems", str(problem_file(tmp_path)), "--limit", "50")
    assert "the gate refuses critic@1" in str(failure(result))
    asked = [body for body in served.engine.bodies if "logprob_token_ids" in body]
    assert {body["model"] for body in asked} == {MODEL, "critic@1"}
    sampled = [body for body in served.engine.bodies if "logprob_token_ids" not in body]
    assert {(body["n"], body["temperature"], body["model"]) for body in sampled} == {(8, 1.0, MODEL)}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["publish", "actor@1"], "--problems"),
        (["promote", "actor@1"], "--force"),
        (["rollback", "poet"], "actor or critic"),
    ],
)
def test_bad_usage(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["adapters", *arguments])
    assert result.exit_code == 2 and said in result.output


def test_bad_names_and_absent_servers() -> None:
    assert failure(CliRunner().invoke(app, ["adapters", "promote", "poet@1", "--force"])).status == 2
    error = failure(CliRunner().invoke(app, ["adapters", "list", "--url", "http://127.0.0.1:9"]))
    assert error.status == 1 and "no Burnish server answers" in str(error)
