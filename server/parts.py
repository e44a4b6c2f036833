"""Everything the application is made of, opened and closed in one place."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from agent.errors import IsolationUnavailable
from agent.graph import build_graph
from agent.policy import EnginePolicy, Policy
from agent.recording import RecordedPolicy
from agent.sandbox.contract import Sandbox
from agent.sandbox.pool import WorkerPool
from memory.embed import SentenceEmbedder
from memory.errors import MemoryFailure
from memory.experience import ExperienceStore
from memory.experience_store import DurableExperienceStore
from memory.recent import Recent
from memory.trajectories import SqlTrajectoryStore, TrajectoryStore
from server.adapters.registry import Registry
from server.adapters.replicas import Replicas
from server.adapters.routing import Routing
from server.adapters.service import Adapters
from server.engine.client import EngineClient
from server.engine.link import EngineLink
from server.engine.process import ManagedEngine
from server.errors import ApiError
from server.learning import Learning
from server.memories import Memories
from server.metrics import Metrics
from server.outbox import Outbox
from server.refine import Memory, Refiner
from server.settings import Settings

_log = logging.getLogger("burnish")


@dataclass(slots=True)
class Parts:
    """One application's services."""

    settings: Settings
    metrics: Metrics
    link: EngineLink
    adapters: Adapters
    store: TrajectoryStore
    outbox: Outbox
    sandbox: Sandbox | None
    """None where programs cannot be isolated; `missing` says why."""
    missing: tuple[str, ...]
    refiner: Refiner | None
    memory: Memory | None
    memories: Memories | None
    forgetful: str
    """Why nothing is remembered, where `memories` is None."""
    stopping: bool = False

    @property
    def routing(self) -> Routing:
        """Which versions answer a request."""
        return self.adapters.routing

    def need_sandbox(self) -> Sandbox:
        """The sandbox. Raises ApiError 503 that says what to install."""
        if self.sandbox is None:
            raise self._no_sandbox()
        return self.sandbox

    def need_refiner(self) -> Refiner:
        """The refiner. Raises ApiError 503 that says what to install."""
        if self.refiner is None:
            raise self._no_sandbox()
        return self.refiner

    def _no_sandbox(self) -> ApiError:
        reasons = "; ".join(self.missing)
        return ApiError(
            503,
            "sandbox_unavailable",
            f"this machine cannot isolate programs, so none is executed: {reasons}. `burnish doctor` tells more",
        )


@asynccontextmanager
async def open_parts(settings: Settings, metrics: Metrics) -> AsyncIterator[Parts]:
    """Start everything; the managed engine goes on starting in the background."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        store = await SqlTrajectoryStore.open(settings.store.url or settings.data_dir / "trajectories.sqlite")
        stack.push_async_callback(store.aclose)
        outbox = Outbox(store, metrics)
        stack.push_async_callback(outbox.aclose)
        saver = await stack.enter_async_context(
            AsyncSqliteSaver.from_conn_string(str(settings.data_dir / "checkpoints.sqlite"))
        )
        link, adapters = await _open_engine(settings, metrics, stack)
        sandbox, missing = await _open_sandbox(settings, stack)
        memory, forgetful = await _open_memory(settings, store, metrics, stack)
        memories = None
        if memory is not None:
            memories = Memories(memory.experiences, store, memory.recent, sandbox, saver.adelete_thread)
        refiner = None
        if sandbox is not None:
            refiner = Refiner(
                graph=build_graph(saver),
                policy=_policy(settings, link, stack),
                adapters=adapters,
                sandbox=sandbox,
                outbox=outbox,
                metrics=metrics,
                settings=settings.refine,
                train_on_traffic=settings.store.train_on_traffic,
                memory=memory,
            )
        yield Parts(
            settings=settings,
            metrics=metrics,
            link=link,
            adapters=adapters,
            store=store,
            outbox=outbox,
            sandbox=sandbox,
            missing=missing,
            refiner=refiner,
            memory=memory,
            memories=memories,
            forgetful=forgetful,
        )


def _policy(settings: Settings, link: EngineLink, stack: AsyncExitStack) -> Policy:
    policy = EnginePolicy(link.client.http, lambda: link.is_vllm)
    if settings.refine.record is None:
        return policy
    recorded = RecordedPolicy(policy, settings.refine.record)
    stack.callback(recorded.close)
    return recorded


async def _open_engine(settings: Settings, metrics: Metrics, stack: AsyncExitStack) -> tuple[EngineLink, Adapters]:
    """The engine and its adapters, which are loaded into it before it gets traffic."""
    registry = Registry(settings.data_dir / "adapters")

    def adapters_of(link: EngineLink, engine: ManagedEngine | None) -> Adapters:
        def base_digest() -> str | None:
            return engine.model.digest if engine is not None and engine.model is not None else None

        return Adapters(
            registry,
            Replicas([link.client]),
            link,
            settings.adapters,
            metrics,
            max_rank=settings.engine.max_lora_rank,
            base_digest=base_digest,
        )

    if settings.engine.url is not None:
        key = settings.engine.api_key
        client = EngineClient(settings.engine.url, key.get_secret_value() if key else None)
        stack.push_async_callback(client.aclose)
        link = EngineLink(client, None)
        adapters = adapters_of(link, None)
        if registry.names():
            await adapters.prepare()
    else:
        engine = ManagedEngine(settings.engine, settings.data_dir, prepare=lambda: adapters.prepare())
        client = EngineClient(engine.url)
        stack.push_async_callback(client.aclose)
        stack.push_async_callback(engine.stop)
        link = EngineLink(client, engine.model_name, engine)
        adapters = adapters_of(link, engine)
        await engine.start()
    stack.push_async_callback(adapters.aclose)
    adapters.start()
    return link, adapters


async def _open_memory(
    settings: Settings, trajectories: TrajectoryStore, metrics: Metrics, stack: AsyncExitStack
) -> tuple[Memory | None, str]:
    """Long-term and short-term memory, or the reason why there is none: a server without them still answers."""
    chosen = settings.memory
    if not chosen.enabled:
        return None, "memory.enabled is false"
    try:
        experiences = await stack.enter_async_context(open_experiences(settings))
    except MemoryFailure as error:
        _log.error("nothing is remembered: %s", error)
        return None, str(error)
    recent = Recent()
    learning = Learning(experiences, recent, trajectories, metrics)
    stack.push_async_callback(learning.aclose)
    return Memory(chosen, experiences, recent, learning), ""


@asynccontextmanager
async def open_experiences(settings: Settings) -> AsyncIterator[ExperienceStore]:
    """The experience store of the data directory, with its embedding model. Raises MemoryFailure."""
    chosen = settings.memory
    async with AsyncExitStack() as stack:
        embedder = await SentenceEmbedder.open(chosen.model)
        stack.push_async_callback(embedder.aclose)
        store = await DurableExperienceStore.open(
            settings.data_dir / "memory", embedder, chroma_url=chosen.url, floor=chosen.floor, most=chosen.most
        )
        stack.push_async_callback(store.aclose)
        yield store


async def _open_sandbox(settings: Settings, stack: AsyncExitStack) -> tuple[Sandbox | None, tuple[str, ...]]:
    try:
        pool = await WorkerPool.start(settings.sandbox)
    except IsolationUnavailable as error:
        _log.error("%s", error)
        return None, error.missing
    stack.push_async_callback(pool.aclose)
    if pool.isolation.missing:
        _log.warning("sandbox tier %s; for tier A: %s", pool.isolation.tier, "; ".join(pool.isolation.missing))
    return pool, ()
