"""Versions in a running engine: loaded, proved, live, rolled back, let go; and what restarts do to them."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.adapters import Adapter, read_live
from agent.calibration import Calibration
from agent.evaluation import GateReport, GateResult
from server.adapters.registry import Registry, State
from server.adapters.replicas import Replicas
from server.adapters.routing import Models
from server.adapters.service import Adapters
from server.adapters.settings import AdapterSettings
from server.adapters.watch import Ending
from server.engine.client import EngineClient
from server.engine.link import EngineLink
from server.errors import ApiError
from server.metrics import Metrics
from tests.lora_engine import LoraEngine, published
from tests.scripted_engine import MODEL, serving


@asynccontextmanager
async def adapters_of(
    data_dir: Path,
    engine: LoraEngine,
    *,
    digest: str | None = None,
    others: tuple[LoraEngine, ...] = (),
    **settings: Any,
) -> AsyncIterator[Adapters]:
    clients: list[EngineClient] = []
    async with serving(engine.app()) as url, asyncio.TaskGroup() as group:
        clients.append(EngineClient(url))
        stops = []
        for other in others:
            ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            stop = asyncio.Event()
            stops.append(stop)
            group.create_task(_served(other, ready, stop))
            clients.append(EngineClient(await ready))
        link = EngineLink(clients[0], None)
        adapters = Adapters(
            Registry(data_dir / "adapters"),
            Replicas(clients),
            link,
            AdapterSettings.model_validate(settings),
            Metrics(),
            max_rank=16,
            base_digest=lambda: digest,
        )
        try:
            await adapters.prepare()
            await link.look()
            yield adapters
        finally:
            await adapters.aclose()
            for client in clients:
                await client.aclose()
            for stop in stops:
                stop.set()


async def _served(engine: LoraEngine, ready: asyncio.Future[str], stop: asyncio.Event) -> None:
    async with serving(engine.app()) as url:
        ready.set_result(url)
        await stop.wait()


async def eventually(condition: Callable[[], bool], within_s: float = 10) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 (background work tells nobody)
            await asyncio.sleep(0.01)


def report(candidate: str, against: str, gained: int = 20, lost: int = 0) -> GateReport:
    pairs = [(True, True)] * 60 + [(False, True)] * gained + [(True, False)] * lost + [(False, False)] * 40
    results = tuple(GateResult(problem=str(n), against=one, candidate=two) for n, (one, two) in enumerate(pairs))
    return GateReport(candidate=candidate, against=against, results=results)


def state(adapters: Adapters, adapter: Adapter | str) -> State:
    entry = adapters.registry.find(adapter if isinstance(adapter, str) else adapter.name)
    assert entry is not None
    return entry.state


async def test_from_the_disk_to_live_and_back(tmp_path: Path) -> None:
    engine = LoraEngine()
    first, second = published(tmp_path), published(tmp_path, shift=0.7)
    async with adapters_of(tmp_path, engine) as adapters:
        assert adapters.routing.choose(None) == Models(MODEL, MODEL)
        assert (await adapters.load("actor@1")).state is State.PROVED
        assert adapters.routing.choose(None).actor == MODEL and adapters.routing.choose("actor@1").actor == "actor@1"
        assert (await adapters.promote("actor@1", report("actor@1", MODEL))).state is State.LIVE
        assert (
            adapters.routing.choose(None) == Models("actor@1", MODEL) and adapters.routing.choose("base").actor == MODEL
        )
        await adapters.load("actor@2")
        await adapters.promote("actor@2", report("actor@2", "actor@1"))
        assert (state(adapters, first), state(adapters, second)) == (State.PROVED, State.LIVE)
        assert adapters.routing.live() == ("actor@2",) and adapters.routing.routable() == ["actor@2", "actor@1"]
        assert await adapters.rollback("actor") == ("actor@2", "actor@1")
        assert adapters.routing.choose(None).actor == "actor@1" and state(adapters, second) is State.PROVED
        assert await adapters.rollback("actor") == ("actor@1", None)
        assert adapters.routing.choose(None).actor == MODEL
        with pytest.raises(ApiError, match="no actor is live"):
            await adapters.rollback("actor")
        assert engine.loads == 2


async def test_loading_twice_is_content(tmp_path: Path) -> None:
    engine = LoraEngine()
    published(tmp_path)
    async with adapters_of(tmp_path, engine) as adapters:
        await asyncio.gather(*(adapters.load("actor@1") for _ in range(5)))
        assert engine.loads == 1


async def test_the_critic_is_promoted_on_its_own(tmp_path: Path) -> None:
    calibration = Calibration(bias=1.0, verdict=0.5, surprise=-0.5, length=0.25, usual=-0.5)
    published(tmp_path, "critic", calibration=calibration)
    async with adapters_of(tmp_path, LoraEngine()) as adapters:
        assert adapters.routing.calibration("critic@1") is None, "it is not loaded"
        await adapters.load("critic@1")
        await adapters.promote("critic@1", report("critic@1", MODEL))
        assert adapters.routing.choose(None) == Models(MODEL, "critic@1")
        assert adapters.routing.calibration("critic@1") == calibration and adapters.routing.calibration(MODEL) is None
        with pytest.raises(ApiError, match=r"choose one of: base$"):
            adapters.routing.choose("critic@1")


@pytest.mark.parametrize(
    ("made", "engine", "said"),
    [
        ({"weights": -0.5}, LoraEngine(), "other weights"),
        ({}, LoraEngine(confused={"actor@1": MODEL}), "other weights"),
        ({"shift": 0.0}, LoraEngine(), "indistinguishable"),
        ({}, LoraEngine(stale=True), "its cache is another's"),
        ({"base": "other/model"}, LoraEngine(), "trained on other/model"),
        ({"base_digest": "sha256:1"}, LoraEngine(), "digest sha256:1"),
        ({"config": {"r": 64}}, LoraEngine(), "max_lora_rank 16"),
    ],
)
async def test_what_is_not_proved_is_refused_and_let_go(
    tmp_path: Path, made: dict[str, Any], engine: LoraEngine, said: str
) -> None:
    published(tmp_path, **made)
    async with adapters_of(tmp_path, engine, digest="sha256:0") as adapters:
        with pytest.raises(ApiError, match=said) as refusal:
            await adapters.load("actor@1")
        assert refusal.value.status == 409
        entry = adapters.registry.find("actor@1")
        assert entry is not None and entry.state is State.REFUSED and said in entry.mark.reason
        await eventually(lambda: engine.held == {})
        with pytest.raises(ApiError, match="load it first"):
            await adapters.promote("actor@1", None, force=True)
        with pytest.raises(ApiError, match="there is no version 'actor@1'; choose one of: base"):
            adapters.routing.choose("actor@1")


async def test_changed_bytes_never_reach_the_engine(tmp_path: Path) -> None:
    engine, made = LoraEngine(), published(tmp_path)
    (made.folder / "adapter_model.safetensors").write_text("0.9")
    async with adapters_of(tmp_path, engine) as adapters:
        with pytest.raises(ApiError, match="not what was published"):
            await adapters.load("actor@1")
        assert engine.loads == 0


async def test_a_half_written_folder_is_no_version(tmp_path: Path) -> None:
    engine, made = LoraEngine(), published(tmp_path)
    (made.folder / "COMPLETE").unlink()
    async with adapters_of(tmp_path, engine) as adapters:
        assert adapters.registry.entries() == []
        with pytest.raises(ApiError, match="no version 'actor@1'") as refusal:
            await adapters.load("actor@1")
        assert refusal.value.status == 404 and engine.loads == 0


async def test_a_refused_version_may_try_again(tmp_path: Path) -> None:
    engine = LoraEngine(confused={"actor@1": MODEL})
    published(tmp_path)
    async with adapters_of(tmp_path, engine) as adapters:
        with pytest.raises(ApiError, match="other weights"):
            await adapters.load("actor@1")
        engine.confused.clear()
        assert (await adapters.load("actor@1")).state is State.PROVED
        await eventually(lambda: adapters.routing.is_routable("actor@1"))
        assert "actor@1" in engine.held


async def test_the_gate_refuses_and_says_why(tmp_path: Path) -> None:
    engine = LoraEngine()
    published(tmp_path)
    async with adapters_of(tmp_path, engine) as adapters:
        await adapters.load("actor@1")
        for wrong, said in (
            (None, "needs the gate's report"),
            (report("actor@2", MODEL), "about actor@2"),
            (GateReport(candidate="actor@1", against=MODEL, results=()), "at least one result"),
        ):
            with pytest.raises(ApiError, match=said) as bad:
                await adapters.promote("actor@1", wrong)
            assert bad.value.status == 400
        with pytest.raises(ApiError, match="measure again"):
            await adapters.promote("actor@1", report("actor@1", "actor@7"))
        assert state(adapters, "actor@1") is State.PROVED
        with pytest.raises(ApiError, match="may be worse") as refusal:
            await adapters.promote("actor@1", report("actor@1", MODEL, gained=0, lost=20))
        assert refusal.value.code == "gate_refused"
        entry = adapters.registry.find("actor@1")
        assert entry is not None and entry.state is State.REFUSED
        assert entry.mark.gate is not None and entry.mark.gate["difference"]["estimate"] < 0
        assert adapters.routing.choose(None).actor == MODEL
        await eventually(lambda: engine.held == {})


async def test_force_leaves_the_gate_out_but_not_the_proof(tmp_path: Path) -> None:
    published(tmp_path)
    async with adapters_of(tmp_path, LoraEngine()) as adapters:
        with pytest.raises(ApiError, match="load it first"):
            await adapters.promote("actor@1", None, force=True)
        await adapters.load("actor@1")
        assert (await adapters.promote("actor@1", None, force=True)).mark.gate == {"forced": True}
        assert adapters.routing.choose(None).actor == "actor@1"


async def test_a_request_keeps_its_version_and_unloading_waits_for_it(tmp_path: Path) -> None:
    engine = LoraEngine()
    for _ in range(3):
        published(tmp_path)
    async with adapters_of(tmp_path, engine, keep=2) as adapters:
        for name in ("actor@1", "actor@2"):
            await adapters.load(name)
            await adapters.promote(name, None, force=True)
        with adapters.routing.pinned("actor@1") as models:
            await adapters.load("actor@3")
            await adapters.promote("actor@3", None, force=True)
            assert models.actor == "actor@1" and state(adapters, "actor@1") is State.RETIRED
            assert not adapters.routing.is_routable("actor@1")
            await asyncio.sleep(0.2)
            assert "actor@1" in engine.held
        await eventually(lambda: set(engine.held) == {"actor@2", "actor@3"})
        assert (tmp_path / "adapters" / "actor@1").is_dir()
        with pytest.raises(ApiError, match="choose one of: base, actor@3, actor@2"):
            adapters.routing.choose("actor@1")


async def test_folders_go_late_and_never_while_needed(tmp_path: Path) -> None:
    engine = LoraEngine()
    for _ in range(4):
        published(tmp_path)
    root = tmp_path / "adapters"
    begun, died = root / ".actor@8.new", root / ".actor@7.dead"
    begun.mkdir()
    died.mkdir()
    os.utime(died, (0, 0))
    async with adapters_of(tmp_path, engine, keep=2, grace_days=1) as adapters:
        for number in (1, 2, 3, 4):
            await adapters.load(f"actor@{number}")
            await adapters.promote(f"actor@{number}", None, force=True)
        await eventually(lambda: set(engine.held) == {"actor@3", "actor@4"})
        await adapters.look_after()
        assert len(adapters.registry.entries()) == 4 and begun.exists() and not died.exists()
        marks = json.loads((root / "states.json").read_text())
        for mark in marks.values():
            mark["changed"] = time.time() - 2 * 86_400
        (root / "states.json").write_text(json.dumps(marks))
        read = json.loads((root / "live.json").read_text())
        read["previous"]["actor"] = ["actor@3", "actor@2"]
        (root / "live.json").write_text(json.dumps(read))
    async with adapters_of(tmp_path, engine, keep=2, grace_days=1) as adapters:
        await adapters.look_after()
        assert [entry.adapter.name for entry in adapters.registry.entries()] == ["actor@2", "actor@3", "actor@4"]
        assert not (root / "actor@1").exists()
        assert not list(root.glob(".*.deleted"))


async def test_a_restarted_engine_has_everything_before_traffic(tmp_path: Path) -> None:
    engine = LoraEngine()
    for _ in range(2):
        published(tmp_path)
    published(tmp_path, "critic")
    async with adapters_of(tmp_path, engine) as adapters:
        for name in ("actor@1", "actor@2", "critic@1"):
            await adapters.load(name)
        await adapters.promote("actor@1", None, force=True)
        await adapters.promote("critic@1", None, force=True)
        engine.forget()
        await adapters.prepare()
        assert set(engine.held) == {"actor@1", "actor@2", "critic@1"}
        assert adapters.routing.choose(None) == Models("actor@1", "critic@1")
    async with adapters_of(tmp_path, engine) as again:
        assert again.routing.choose(None) == Models("actor@1", "critic@1") and again.routing.routable("actor") == [
            "actor@1",
            "actor@2",
        ]


async def test_a_live_version_that_a_restarted_engine_answers_wrongly_is_rolled_back(tmp_path: Path) -> None:
    engine = LoraEngine()
    for _ in range(2):
        published(tmp_path)
    async with adapters_of(tmp_path, engine) as adapters:
        for name in ("actor@1", "actor@2"):
            await adapters.load(name)
            await adapters.promote(name, None, force=True)
        engine.forget()
        engine.confused["actor@2"] = MODEL
        await adapters.prepare()
        assert adapters.routing.choose(None).actor == "actor@1" and state(adapters, "actor@2") is State.REFUSED
        assert read_live(tmp_path / "adapters").actor == "actor@1"


async def test_an_external_engine_that_was_restarted_gets_them_again(tmp_path: Path) -> None:
    engine = LoraEngine()
    published(tmp_path)
    async with adapters_of(tmp_path, engine, poll_s=0.05) as adapters:
        await adapters.load("actor@1")
        await adapters.promote("actor@1", None, force=True)
        adapters.start()
        engine.forget()
        adapters.routing.lost("actor@1")
        assert adapters.routing.choose(None).actor == MODEL
        await eventually(lambda: adapters.routing.choose(None).actor == "actor@1")
        assert "actor@1" in engine.held


async def test_an_engine_that_is_down_costs_the_start_nothing(tmp_path: Path) -> None:
    published(tmp_path)
    link = EngineLink(EngineClient("http://127.0.0.1:9"), None)
    adapters = Adapters(
        Registry(tmp_path / "adapters"),
        Replicas([link.client]),
        link,
        AdapterSettings(),
        Metrics(),
        max_rank=16,
    )
    await adapters.prepare()
    with pytest.raises(ApiError) as refusal:
        adapters.routing.choose(None)
    assert refusal.value.status == 503
    await link.client.aclose()


async def test_every_replica_must_be_proved(tmp_path: Path) -> None:
    good, bad = LoraEngine(), LoraEngine(confused={"actor@1": MODEL})
    published(tmp_path)
    async with adapters_of(tmp_path, good, others=(bad,)) as adapters:
        with pytest.raises(ApiError, match="other weights"):
            await adapters.load("actor@1")
        await eventually(lambda: good.held == bad.held == {})
        bad.confused.clear()
        await adapters.load("actor@1")
        assert "actor@1" in good.held and "actor@1" in bad.held
        bad.forget()
        await adapters.look_after()
        assert "actor@1" in bad.held and adapters.routing.is_routable("actor@1")


@pytest.mark.parametrize("engine", [LoraEngine(vllm=False), LoraEngine(runtime_lora=False)])
async def test_engines_without_adapters_say_so(tmp_path: Path, engine: LoraEngine) -> None:
    published(tmp_path)
    async with adapters_of(tmp_path, engine) as adapters:
        with pytest.raises(ApiError, match="adapters need vLLM") as refusal:
            await adapters.load("actor@1")
        assert refusal.value.status == 409 and state(adapters, "actor@1") is State.CANDIDATE
        assert adapters.routing.choose(None).actor == MODEL


async def test_a_promotion_that_does_worse_is_taken_back_and_marked(tmp_path: Path) -> None:
    engine = LoraEngine()
    published(tmp_path)
    async with adapters_of(tmp_path, engine, poll_s=0.05) as adapters:
        for _ in range(40):
            adapters.saw(Models(MODEL, MODEL), Ending(verified=True, failed=False, seconds=1.0))
        await adapters.load("actor@1")
        await adapters.promote("actor@1", None, force=True)
        for _ in range(40):
            adapters.saw(Models("actor@1", MODEL), Ending(verified=False, failed=False, seconds=1.0))
        adapters.start()
        await eventually(lambda: adapters.routing.choose(None).actor == MODEL)
        await eventually(lambda: engine.held == {})
        entry = adapters.registry.find("actor@1")
        assert entry is not None and entry.state is State.REFUSED and "0 % of its answers" in entry.mark.reason


async def test_a_disk_that_takes_nothing_leaves_the_old_version_live(tmp_path: Path) -> None:
    published(tmp_path)
    published(tmp_path)
    root = tmp_path / "adapters"
    async with adapters_of(tmp_path, LoraEngine()) as adapters:
        for name in ("actor@1", "actor@2"):
            await adapters.load(name)
        await adapters.promote("actor@1", None, force=True)
        before = (root / "live.json").read_text()
        (root / "live.json").unlink()
        (root / "live.json").mkdir()  # what is no file cannot be replaced, also not by root
        (root / "live.json" / "x").write_text("")
        with pytest.raises(ApiError) as refusal:
            await adapters.promote("actor@2", None, force=True)
        assert refusal.value.status == 503
        (root / "live.json" / "x").unlink()
        (root / "live.json").rmdir()
        (root / "live.json").write_text(before)
        assert adapters.routing.choose(None).actor == "actor@1"
        assert not list(root.glob(".live*"))
