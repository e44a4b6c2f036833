"""`burnish bench` against a real scripted server on a free port."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import typer
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from rich.console import Console
from typer.testing import CliRunner

from agent.errors import BadTests
from agent.problems import ProblemFileError, load
from agent.sandbox.contract import Isolation
from memory.records import CodeTest, Fault, Limits, Outcome, Test, Verdict
from server.bench.client import ServerError
from server.bench.ladder import LADDER
from server.bench.report import show
from server.bench.rows import MismatchError, Row, RowFile
from server.bench.run import BenchSettings, ModeError, choose, model_of
from server.cli.bench import bench, run
from server.cli.common import CommandError

SECRET = 424242
"""Stands in every hidden test and must never be seen by the server."""


@dataclass
class ScriptedServer:
    """Answers chat completions from a script and remembers what it was asked."""

    answer: Callable[[dict[str, Any]], JSONResponse | dict[str, Any]]
    key: str | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)
    running: int = 0
    most: int = 0

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.get("/v1/models", response_model=None)
        async def models(request: Request) -> JSONResponse | dict[str, Any]:
            if self.key and request.headers.get("authorization") != f"Bearer {self.key}":
                return JSONResponse({"error": {"message": "no such key"}}, 401)
            return {"object": "list", "data": [{"id": "burnish"}, {"id": "tiny"}, {"id": "actor@3"}]}

        @app.get("/version")
        async def version() -> dict[str, str]:
            return {"server": "0.1.0"}

        @app.post("/v1/chat/completions", response_model=None)
        async def chat(request: Request) -> JSONResponse | dict[str, Any]:
            body = await request.json()
            self.asked.append(body)
            self.running += 1
            self.most = max(self.most, self.running)
            await asyncio.sleep(0.02)
            self.running -= 1
            return self.answer(body)

        return app


Serve = Callable[[ScriptedServer], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a scripted server; answers its URL."""
    stops: list[Callable[[], None]] = []

    def start(scripted: ScriptedServer) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(scripted.app(), log_level="error", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)

        def stop() -> None:
            server.should_exit = True
            thread.join()
            listener.close()

        stops.append(stop)
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for stop in stops:
        stop()


class TrustingSandbox:
    """Runs check-style tests in this process: for programs written in this file only."""

    isolation = Isolation(tier="none", features=(), missing=())
    waiting = 0

    def __init__(self) -> None:
        self.closed = False

    async def run(
        self,
        code: str,
        tests: Sequence[Test],
        *,
        entry_point: str | None = None,
        prelude: str = "",
        limits: Limits | None = None,
        run_id: str = "",
        owner: str = "",
        flaky_check: bool = False,
        language: str = "python",
    ) -> Verdict:
        if "sandbox please fail" in code:
            return self._verdict(Outcome.SANDBOX_ERROR, "no worker")
        if "refuse the tests" in code:
            raise BadTests("cannot be run")
        names: dict[str, Any] = {}
        try:
            exec(prelude, names)
            exec(code, names)
            for test in tests:
                assert isinstance(test, CodeTest)
                exec(f"{test.source}\ncheck({entry_point})", names)
        except AssertionError as error:
            return self._verdict(Outcome.FAILED_TEST, str(error))
        except NameError as error:
            return self._verdict(Outcome.RUNTIME_ERROR, str(error))
        return self._verdict(Outcome.PASSED, "")

    def _verdict(self, outcome: Outcome, message: str) -> Verdict:
        fault = Fault(type=outcome.value, message=message) if message else None
        return Verdict(id="", outcome=outcome, passed=0, total=1, error=fault)

    async def aclose(self) -> None:
        self.closed = True


async def trusting() -> TrustingSandbox:
    return TrustingSandbox()


def problem_file(folder: Path, count: int = 4) -> Path:
    """Problems `plus_0`, `plus_1`, ...: add that number."""
    path = folder / "problems.jsonl"
    rows = [
        {
            "task_id": f"Plus/{number}",
            "prompt": f'def plus_{number}(x: int) -> int:\n    """ Add {number}.\n    """\n',
            "entry_point": f"plus_{number}",
            "test": f"def check(candidate):\n    assert candidate({SECRET}) == {SECRET + number}, 'wrong sum'\n",
        }
        for number in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def number_of(body: dict[str, Any]) -> int:
    text = str(body["messages"][0]["content"])
    return int(text.partition("plus_")[2].partition("(")[0])


def program(number: int, *, right: bool) -> str:
    return f"Here:\n```python\ndef plus_{number}(x):\n    return x + {number}{'' if right else ' + 1'}\n```\nDone."


def completion(text: str, burnish: dict[str, Any] | None = None) -> dict[str, Any]:
    body: dict[str, Any] = {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 50, "completion_tokens": 10, "total_tokens": 60},
    }
    return body | ({"burnish": burnish} if burnish else {})


def refined(verdict: str, source: str = "prompt") -> dict[str, Any]:
    return {
        "verdict": verdict,
        "tests": {"source": source, "passed": 2, "total": 2},
        "candidates": 4,
        "rounds": 1,
        "model_version": "tiny",
        "tokens": {"prompt": 200, "completion": 40},
        "seconds": {"total": 2.0, "engine": 1.5, "sandbox": 0.3, "overhead": 0.2},
        "trajectory_id": "t1",
    }


def half_right(body: dict[str, Any]) -> dict[str, Any]:
    """base solves 0 and 1, burnish 0, 2 and 3; burnish claims 0, 2 and (wrongly) 1."""
    number = number_of(body)
    if body["model"] == "tiny":
        return completion(program(number, right=number < 2))
    claim = refined("passed") if number < 3 else refined("unverified", "none")
    return completion(program(number, right=number != 1), claim)


def settings(url: str, file: Path, **changes: Any) -> BenchSettings:
    return BenchSettings(**({"file": str(file), "url": url} | changes))


async def measured(chosen: BenchSettings, out: Path | None = None, key: str | None = None) -> dict[str, Any]:
    return await run(chosen, load(Path(chosen.file)), out, api_key=key, start_sandbox=trusting)


async def test_a_run_measures_both_modes(tmp_path: Path, serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    server = ScriptedServer(half_right, key="k")
    out = tmp_path / "results" / "out.json"
    result = await measured(settings(serve(server) + "/v1/", problem_file(tmp_path)), out, key="k")

    base, better = result["modes"]["base"], result["modes"]["refined"]
    assert (base["problems"], base["passed"], base["failures"]) == (4, 2, [])
    assert base["pass_at_1"]["estimate"] == 0.5
    assert base["outcomes"] == {"passed": 2, "failed_test": 2}
    assert base["tokens"] == {"completion": {"total": 40, "mean": 10.0}, "prompt": {"total": 200, "mean": 50.0}}
    assert base["seconds"]["wall"] >= base["seconds"]["median"] > 0
    assert "refinement" not in base
    assert better["passed"] == 3
    assert better["tokens"]["completion"]["total"] == 160
    assert better["refinement"]["verdicts"] == {"passed": {"prompt": 3}, "unverified": {"none": 1}}
    assert better["refinement"]["agreement"] == {
        "verified_right": 2,
        "verified_wrong": 1,
        "unverified_right": 1,
        "unverified_wrong": 0,
        "share": 0.5,
    }
    assert better["refinement"]["overhead_share"] == pytest.approx(0.1)
    assert (better["refinement"]["candidates_mean"], better["refinement"]["rounds_mean"]) == (4.0, 1.0)
    (pair,) = result["paired"]
    assert (pair["first"], pair["second"], pair["problems"]) == ("base", "refined", 4)
    assert (pair["gained"], pair["lost"]) == (["Plus/2", "Plus/3"], ["Plus/1"])
    assert pair["difference"]["low"] < pair["difference"]["estimate"] == 0.25 < pair["difference"]["high"]
    assert result["server"]["asked"] == {"base": "tiny", "refined": "burnish"}
    assert result["server"]["version"] == {"server": "0.1.0"}
    assert result["machine"]["cores"] >= 1
    assert [row["task_id"] for row in result["rows"]] == [f"Plus/{number}" for number in range(4)] * 2
    assert result["rows"][0]["code"] == "def plus_0(x):\n    return x + 0\n"

    assert json.loads(out.read_text()) == json.loads(json.dumps(result))
    assert [path.name for path in out.parent.iterdir()] == ["out.json"]
    assert capsys.readouterr().err.splitlines()[-1].startswith("refined 4/4 Plus/")


async def test_the_server_sees_the_statement_and_nothing_else(tmp_path: Path, serve: Serve) -> None:
    server = ScriptedServer(half_right)
    await measured(settings(serve(server), problem_file(tmp_path), seed=7, deadline_s=33.0, concurrency=1))
    assert str(SECRET) not in json.dumps(server.asked)
    base, better = server.asked[:4], server.asked[4:]
    assert all(set(body) == {"model", "messages", "temperature", "max_tokens", "seed"} for body in base)
    assert all(body["burnish"] == {"deadline_s": 33.0, "memory": False} for body in better)
    assert all(body["temperature"] == 0 and body["max_tokens"] == 1024 for body in server.asked)
    assert all(body["seed"] == 7 + number_of(body) for body in server.asked)
    assert server.most == 1


async def test_each_rung_of_the_ladder_switches_one_more_part_on(tmp_path: Path, serve: Serve) -> None:
    server = ScriptedServer(half_right)
    chosen = settings(serve(server), problem_file(tmp_path, 1), modes=("base", *LADDER), max_candidates=5)
    result = await measured(chosen)
    assert list(result["modes"]) == ["base", *LADDER] and len(result["paired"]) == 15
    assert "burnish" not in server.asked[0]
    asked = [body["burnish"] for body in server.asked[1:]]
    assert all(options["max_candidates"] == 5 and options["memory"] is False for options in asked)
    parts = ("repair", "prefix_seeds", "generated_tests", "critic")
    assert [[options[part] for part in parts] for options in asked] == [
        [place < count for place in range(4)] for count in range(5)
    ]


async def test_questions_are_asked_at_the_same_time(tmp_path: Path, serve: Serve) -> None:
    server = ScriptedServer(half_right)
    await measured(settings(serve(server), problem_file(tmp_path, 9), modes=("base",), concurrency=3))
    assert server.most == 3


async def test_a_busy_server_is_waited_for(tmp_path: Path, serve: Serve) -> None:
    busy = [503, 429]

    def answer(body: dict[str, Any]) -> JSONResponse | dict[str, Any]:
        if busy:
            return JSONResponse({"error": {"message": "later"}}, busy.pop(), {"Retry-After": "1"})
        return half_right(body)

    server = ScriptedServer(answer)
    result = await measured(settings(serve(server), problem_file(tmp_path, 1), modes=("base",)))
    assert result["modes"]["base"]["passed"] == 1
    assert len(server.asked) == 3
    assert result["rows"][0]["request_seconds"] < 1.0


async def test_our_failures_are_no_failing_programs(tmp_path: Path, serve: Serve) -> None:
    def answer(body: dict[str, Any]) -> JSONResponse | dict[str, Any]:
        match number_of(body):
            case 0:
                return JSONResponse({"error": {"message": "engine died"}}, 500)
            case 1:
                return {"unexpected": True}
            case 2:
                return completion("```python\n# sandbox please fail\n```")
            case 3:
                return completion("```python\n# refuse the tests\n```")
            case 4:
                return completion("I cannot do that.")
            case _:
                return half_right(body)

    server = ScriptedServer(answer)
    url, out = serve(server), tmp_path / "out.json"
    result = await measured(settings(url, problem_file(tmp_path, 6), modes=("base",)), out)
    figures = result["modes"]["base"]
    errors = {failure["task_id"]: failure["error"] for failure in figures["failures"]}
    assert set(errors) == {"Plus/0", "Plus/1", "Plus/2", "Plus/3"}
    assert "HTTP 500" in errors["Plus/0"]
    assert "no chat completion" in errors["Plus/1"]
    assert errors["Plus/2"].startswith("sandbox_error")
    assert errors["Plus/3"] == "BadTests: cannot be run"
    assert figures["problems"] == 2
    assert figures["outcomes"] == {"runtime_error": 1, "failed_test": 1}
    assert (tmp_path / "out.json.partial").exists()

    server.answer = half_right
    server.asked.clear()
    again = await measured(settings(url, problem_file(tmp_path, 6), modes=("base",)), out)
    assert sorted(number_of(body) for body in server.asked) == [0, 1, 2, 3]
    assert (again["modes"]["base"]["problems"], again["modes"]["base"]["failures"]) == (6, [])
    assert not (tmp_path / "out.json.partial").exists()


async def test_a_stopped_run_goes_on(tmp_path: Path, serve: Serve) -> None:
    server = ScriptedServer(half_right)
    url, file, out = serve(server), problem_file(tmp_path), tmp_path / "out.json"
    whole = await measured(settings(url, file, concurrency=1), tmp_path / "whole.json")

    def stop_at_the_sixth(body: dict[str, Any]) -> dict[str, Any]:
        if len(server.asked) == 6:
            loop.call_soon_threadsafe(stopped.cancel)
        return half_right(body)

    loop = asyncio.get_running_loop()
    server.asked.clear()
    server.answer = stop_at_the_sixth
    stopped = asyncio.ensure_future(measured(settings(url, file, concurrency=1), out))
    with pytest.raises(asyncio.CancelledError):
        await stopped
    partial = tmp_path / "out.json.partial"
    assert not out.exists()
    assert 5 <= len(partial.read_text().splitlines()) - 1 <= 6
    partial.write_text(partial.read_text() + '{"mode": "refined", "task_')

    with pytest.raises(MismatchError, match="seed was None and is now 3"):
        await measured(settings(url, file, seed=3), out)
    server.answer = half_right
    server.asked.clear()
    result = await measured(settings(url, file, concurrency=1), out)
    assert 2 <= len(server.asked) <= 3
    for mode in ("base", "refined"):
        assert result["modes"][mode]["passed"] == whole["modes"][mode]["passed"]
    assert result["paired"] == whole["paired"]
    assert result["modes"]["refined"]["seconds"]["wall"] > 0
    assert not partial.exists()


async def test_no_server_no_key_no_mode(tmp_path: Path, serve: Serve) -> None:
    file = problem_file(tmp_path)
    with pytest.raises(ServerError, match="no server answers at"):
        await measured(settings("http://127.0.0.1:9", file))
    url = serve(ScriptedServer(half_right, key="k"))
    with pytest.raises(ServerError, match="HTTP 401"):
        await measured(settings(url, file))
    with pytest.raises(ModeError, match="no model for mode 'actor@4'"):
        await measured(settings(url, file, modes=("actor@4",)), key="k")


def test_modes_are_models() -> None:
    listed = ["burnish", "tiny", "actor@3"]
    assert [model_of(mode, listed) for mode in ("base", "refined", "actor@3")] == ["tiny", "burnish", "actor@3"]
    assert model_of("base", ["other"]) == "other"
    with pytest.raises(ModeError, match="it lists other"):
        model_of("refined", ["other"])


def test_a_seed_shuffles_and_a_limit_cuts(tmp_path: Path) -> None:
    problems = load(problem_file(tmp_path, 9))
    assert [task.index for task in choose(problems, 3, None)] == [0, 1, 2]
    shuffled = [task.index for task in choose(problems, None, 1)]
    assert sorted(shuffled) == list(range(9)) != shuffled
    assert [task.index for task in choose(problems, 4, 1)] == shuffled[:4]


def test_a_row_file_starts_anew_without_rows(tmp_path: Path) -> None:
    path = tmp_path / "x.partial"
    path.write_text('{"seed": 1')
    rows = RowFile(path, {"seed": 2})
    rows.append(Row(mode="base", task_id="a", code="é\n\u2028"))
    rows.close()
    again = RowFile(path, {"seed": 2})
    assert again.rows == rows.rows
    again.remove()
    assert not path.exists()


async def test_the_tables_show_every_figure(tmp_path: Path, serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    result = await measured(settings(serve(ScriptedServer(half_right)), problem_file(tmp_path)))
    capsys.readouterr()
    not_asked = [f"Plus/{number}" for number in range(9, 40)]
    show(result | {"without_tests": not_asked}, Console(width=120))
    shown = capsys.readouterr().out
    for text in (
        "50.0 % [15.0, 85.0]",
        "verdict passed, tests from prompt",
        "verdict agrees with hidden tests",
        "overhead share",
        "10.0%",
        "refined - base: +25.0 points [",
        "gained 2: Plus/2, Plus/3",
        "lost 1: Plus/1",
        f"not asked: {', '.join(not_asked)}\n",
    ):
        assert text in shown


async def test_without_tests_nothing_is_asked(tmp_path: Path) -> None:
    (tmp_path / "question.txt").write_text("Add.")
    with pytest.raises(ProblemFileError, match="no problem in it has tests"):
        await measured(settings("http://127.0.0.1:9", tmp_path))


def app() -> typer.Typer:
    command = typer.Typer()
    command.command()(bench)
    return command


def test_the_command_judges_in_the_real_sandbox(tmp_path: Path, serve: Serve) -> None:
    server = ScriptedServer(half_right)
    file, out = problem_file(tmp_path, 3), tmp_path / "out.json"
    arguments = [str(file), "--url", serve(server), "--out", str(out), "--concurrency", "2"]
    shown = CliRunner().invoke(app(), arguments, catch_exceptions=False)
    assert shown.exit_code == 0, shown.output
    assert "refined - base: +0.0 points" in shown.stdout
    result = json.loads(out.read_text())
    assert [row["passed"] for row in result["rows"]] == [True, True, False, True, False, True]
    assert {row["outcome"] for row in result["rows"]} == {"passed", "failed_test"}
    printed = CliRunner().invoke(app(), [*arguments[:3], "--json", "--limit", "1"], catch_exceptions=False)
    assert json.loads(printed.stdout)["modes"]["base"]["passed"] == 1

    server.answer = lambda body: JSONResponse({"error": {"message": "broken"}}, 500)
    failed = CliRunner().invoke(app(), arguments[:3], catch_exceptions=False)
    assert failed.exit_code == 1
    assert "Plus/0 not measured" in failed.stdout


def test_bad_usage_is_2_and_a_missing_server_1(tmp_path: Path) -> None:
    cli, file = CliRunner(), problem_file(tmp_path)
    assert cli.invoke(app(), [str(tmp_path / "missing.jsonl")]).exit_code == 2
    assert cli.invoke(app(), [str(file), "--limit", "0"]).exit_code == 2
    assert cli.invoke(app(), [str(file), "--mode", " ,"]).exit_code == 2
    (tmp_path / "broken.jsonl").write_text("{}\n")
    broken = cli.invoke(app(), [str(tmp_path / "broken.jsonl")]).exception
    assert isinstance(broken, CommandError)
    assert broken.status == 2
    assert "broken.jsonl, line 1" in str(broken)
    missing = cli.invoke(app(), [str(file), "--url", "http://127.0.0.1:9"]).exception
    assert isinstance(missing, CommandError)
    assert missing.status == 1
    assert "no server answers" in str(missing)
