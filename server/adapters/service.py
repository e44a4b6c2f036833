"""The life of versions: load, prove, promote, roll back, let go.

Traffic never waits for any of this: a version is loaded and proved beside the live one, and going live is one write of
the pointer. One that is let go is unloaded when no request uses it any more (server/adapters/routing.py).
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Callable, Coroutine
from dataclasses import asdict, replace

from agent.adapters import KINDS, Kind, check, check_shape
from agent.errors import AdapterError, EngineUnavailable
from agent.evaluation import GateReport
from server.adapters.probe import Bounds, Proof, prove
from server.adapters.promotion import Decision, decide
from server.adapters.registry import ROUTABLE, Entry, IllegalTransition, Registry, State
from server.adapters.replicas import Replicas, unsupported
from server.adapters.routing import Models, Routing
from server.adapters.settings import AdapterSettings
from server.adapters.watch import Ending, Watch
from server.engine.link import EngineLink
from server.errors import ApiError, bad_request, not_ready
from server.metrics import Metrics

_PAST = 10
"""Former live versions that are remembered."""
_LEFT_S = 86_400.0
"""A version that is being written for longer is never finished."""
_VERDICTS = {True: "passed", False: "failed", None: "unverified"}

_log = logging.getLogger("burnish.adapters")


class Adapters:
    """The versions of one data directory in one engine (or its replicas)."""

    def __init__(
        self,
        registry: Registry,
        replicas: Replicas,
        link: EngineLink,
        settings: AdapterSettings,
        metrics: Metrics,
        *,
        max_rank: int,
        base_digest: Callable[[], str | None] = lambda: None,
        watch: Watch | None = None,
    ) -> None:
        self.registry = registry
        self.routing = Routing(registry, link)
        self._replicas = replicas
        self._link = link
        self._settings = settings
        self._metrics = metrics
        self._max_rank = max_rank
        self._base_digest = base_digest
        self._watch = watch or Watch(settings)
        self._bounds = Bounds(cap=settings.probe_cap, floor=settings.probe_floor)
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Look after the versions from now on."""
        self._spawn(self._keep_up())

    async def aclose(self) -> None:
        """Look after them no more; what is loaded stays."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def saw(self, models: Models, ending: Ending) -> None:
        """Take note of how a refined request ended, for the watch over promotions."""
        self._watch.saw(replace(ending, versions=(models.actor, models.critic)))
        verdict = "error" if ending.failed else _VERDICTS[ending.verified]
        self._metrics.version_answers.labels(models.actor, verdict).inc()

    async def load(self, name: str) -> Entry:
        """Load a version into every replica and prove it; a proved one is content. Raises ApiError: 404, 409 (with the
        reason, also kept), 503."""
        async with self._lock:
            entry = self._find(name)
            if self.routing.is_routable(name):
                return entry
            await self._check_engine()
            if entry.state not in (State.CANDIDATE, State.PROVED, State.LIVE):
                self.registry.become(name, State.CANDIDATE)
            try:
                self._check_folder(entry)
            except AdapterError as error:
                self._refuse(name, str(error))
                raise ApiError(409, "adapter_refused", str(error)) from error
            await self._bring(entry)
            proofs = await self._prove(entry)
            told = [asdict(proof) for proof in proofs]
            wrong = next((proof for proof in proofs if proof.result != "passed"), None)
            if wrong is not None:
                self._refuse(name, f"{wrong.result}: {wrong.reason}", proof=told)
                raise ApiError(409, "not_proved", f"{name} is not proved ({wrong.result}): {wrong.reason}")
            self.routing.loaded.add(name)
            if entry.state is not State.LIVE:
                self.registry.become(name, State.PROVED, proof=told)
            self._count("proved")
            _log.info("%s is loaded and proved", name)
            self._trim(entry.adapter.kind, name)
            return self._find(name)

    async def promote(self, name: str, report: GateReport | None, *, force: bool = False) -> Entry:
        """Make a proved version live if the gate allows, or without the gate by `force`.

        Raises ApiError: 404, 400 for a report that is none, 409 where the gate refuses (kept as the version's reason),
        the version is not proved, or the live version changed since the report was made.
        """
        async with self._lock:
            entry = self._find(name)
            kind = entry.adapter.kind
            live = self.registry.live()
            if live.of(kind) == name:
                return entry
            if not self.routing.is_routable(name):
                raise ApiError(
                    409,
                    "not_proved",
                    f"{name} is {entry.state} and not loaded{_because(entry)}; load it first: "
                    f"POST /burnish/adapters/{name}/load",
                )
            gate: dict[str, object] = {"forced": True}
            if not force:
                decision = self._decide(entry, report)
                gate = {**asdict(decision), "measured": report.measured if report else ""}
                if not decision.promote:
                    self._refuse(name, f"gate: {decision.reason}", gate=gate)
                    raise ApiError(409, "gate_refused", f"the gate refuses {name}: {decision.reason}")
            self.registry.become(name, State.PROVED, gate=gate)
            previous = (live.of(kind), *live.before(kind))[:_PAST]
            self._point(kind, name, previous)
            self._watch.promoted(kind, name)
            self._count("promoted")
            _log.info("%s is live, %s was", name, previous[0] or "the base model")
            self._trim(kind)
            return self._find(name)

    async def rollback(self, kind: Kind, reason: str = "") -> tuple[str, str | None]:
        """Go back to what was live before and is still loaded, else to the base model; what went, and what came. With a
        `reason` the version that went is marked as refused. Raises ApiError 409 if the base model is live."""
        async with self._lock:
            live = self.registry.live()
            bad = live.of(kind)
            if bad is None:
                raise ApiError(409, "nothing_to_roll_back", f"no {kind} is live: the base model answers")
            past = list(live.before(kind))
            while past and past[0] is not None and not self.routing.is_routable(past[0]):
                past.pop(0)
            good = past.pop(0) if past else None
            self._point(kind, good, tuple(past))
            self._watch.dismissed(kind)
            self._count("rolled_back")
            _log.warning("%s is rolled back to %s%s", bad, good or "the base model", f": {reason}" if reason else "")
            if reason and self.registry.find(bad) is not None:
                self._refuse(bad, reason)
            return bad, good

    async def prepare(self) -> None:
        """Load what is needed into an engine that just started or was just found, before it gets traffic. Never
        raises."""
        try:
            self.registry.scan()
            served, *_ = await self._replicas.clients[0].models()
            self.routing.told_base = served.name
            async with self._lock:
                self.routing.loaded.clear()
                if served.vllm:
                    await self._restore()
        except EngineUnavailable as error:
            _log.warning("adapters are not loaded yet: %s", error)
        except Exception:
            _log.exception("adapters are not loaded into the engine: the base model answers")

    async def _keep_up(self) -> None:
        """Load again what the engine lost, judge promotions, delete what is long gone."""
        while True:
            await asyncio.sleep(self._settings.poll_s)
            try:
                await self.look_after()
            except (EngineUnavailable, ApiError) as error:
                _log.debug("adapters are not looked after now: %s", error)
            except Exception:
                _log.exception("adapters are not looked after now")

    async def look_after(self) -> None:
        """One round of looking after the versions. Raises EngineUnavailable, ApiError."""
        for kind, reason in self._watch.worse().items():
            await self.rollback(kind, reason)
        self.registry.scan()
        if not self.registry.names():
            return
        self.routing.told_base = (await self._link.look())[0].name
        if not self._link.is_vllm:
            return
        async with self._lock:
            held = await self._replicas.holding()
            self.routing.loaded &= set(held)
            await self._restore()
        await self._delete(set(held))

    async def _restore(self) -> None:
        """Load and prove what should be loaded and is not. A live version that fails is rolled back."""
        for kind in KINDS:
            for name in self._wanted(kind):
                entry = self.registry.find(name)
                if entry is None or name in self.routing.loaded or name in self.routing.leaving or self._foreign(entry):
                    continue
                try:
                    self._check_folder(entry)
                    await self._bring(entry)
                    proofs = await self._prove(entry, cache=False)
                except (AdapterError, ApiError) as error:
                    _log.error("%s cannot be loaded again: %s", name, error)
                    continue
                wrong = next((proof for proof in proofs if proof.result == "failed"), None)
                if wrong is None:  # one that was proved once and is near the noise now is not refused for that
                    self.routing.loaded.add(name)
                    continue
                live = self.registry.live()
                if live.of(kind) == name:
                    past = live.before(kind)
                    self._point(kind, past[0] if past else None, past[1:])
                    self._count("rolled_back")
                self._refuse(name, f"{wrong.result} after the engine's start: {wrong.reason}")
        self._metrics.adapters_loaded.set(len(self.routing.loaded))

    def _find(self, name: str) -> Entry:
        entry = self.registry.find(name)
        if entry is None:
            there = ", ".join(self.registry.names()) or "none"
            raise ApiError(
                404, "adapter_not_found", f"there is no version {name!r} in {self.registry.root}; there are: {there}"
            )
        return entry

    async def _check_engine(self) -> None:
        self.routing.told_base = (await self._link.base()).name
        if not self._link.is_vllm:
            raise unsupported(f"the engine at {self._link.client.url} does not say that it is vLLM")

    def _check_folder(self, entry: Entry) -> None:
        """Raises AdapterError: changed on disk, of another base model, or of a shape that cannot be served."""
        check(entry.adapter)
        check_shape(entry.adapter.folder, self._max_rank)
        if reason := self._foreign(entry):
            raise AdapterError(reason)

    def _foreign(self, entry: Entry) -> str:
        """Why it does not belong to the served base model; empty if it does."""
        card, base, digest = entry.adapter.card, self.routing.base, self._base_digest()
        if base is not None and card.base != base:
            return f"{card.name} was trained on {card.base}; the engine serves {base}"
        if digest and card.base_digest and card.base_digest != digest:
            return f"{card.name} was trained on {card.base} with digest {card.base_digest}; the served one has {digest}"
        return ""

    async def _bring(self, entry: Entry) -> None:
        try:
            await self._replicas.load(entry.adapter)
        except EngineUnavailable as error:
            raise not_ready(str(error), 15.0) from error
        self._count("loaded")

    async def _prove(self, entry: Entry, *, cache: bool = True) -> list[Proof]:
        base = self.routing.base or entry.adapter.card.base
        try:
            return [
                await prove(client, entry.adapter, base, self._bounds, cache=cache) for client in self._replicas.clients
            ]
        except EngineUnavailable as error:
            raise not_ready(str(error), 15.0) from error

    def _decide(self, entry: Entry, report: GateReport | None) -> Decision:
        name, kind = entry.adapter.name, entry.adapter.kind
        if report is None or not report.results:
            raise bad_request(
                'a promotion needs the gate\'s report with at least one result, or {"force": true}; '
                "`burnish adapters publish` makes the report"
            )
        if report.candidate != name:
            raise bad_request(f"the report is about {report.candidate}, not {name}", param="candidate")
        now = self.registry.live().of(kind) or self.routing.base
        if report.against != now:
            raise ApiError(
                409,
                "stale_report",
                f"the report compares {name} with {report.against}, but {now} is live now; measure again",
            )
        return decide(report, self._settings)

    def _refuse(self, name: str, reason: str, **known: object) -> None:
        """Mark and let go."""
        self.registry.become(name, State.REFUSED, reason, **known)
        self._count("refused")
        _log.warning("%s is refused: %s", name, reason)
        self._let_go(name)

    def _trim(self, kind: Kind, newcomer: str | None = None) -> None:
        """Let go of what is beyond the number kept."""
        wanted = self._wanted(kind)
        for name in self.registry.order(kind):
            if name not in wanted and name != newcomer:
                self.registry.become(name, State.RETIRED, f"beyond the {self._settings.keep} versions kept loaded")
                self._count("retired")
                self._let_go(name)
        self._metrics.adapters_loaded.set(len(self.routing.loaded))

    def _wanted(self, kind: Kind) -> list[str]:
        """The versions to be kept loaded; what a rollback goes back to is always among them."""
        order = self.registry.order(kind)
        back = self.registry.live().before(kind)[:1]
        return order[: self._settings.keep] + [name for name in order[self._settings.keep :] if name in back]

    def _let_go(self, name: str) -> None:
        self.routing.leaving.add(name)
        self._spawn(self._unload(name))

    async def _unload(self, name: str) -> None:
        """Nothing is sent to it any more: wait for what was, then unload it everywhere and see that it is gone."""
        try:
            await self.routing.free(name)
            async with self._lock:
                entry = self.registry.find(name)
                if entry is not None and entry.state in ROUTABLE:
                    return
                await self._replicas.unload(name)
                self.routing.loaded.discard(name)
                await self._link.look()
                _log.info("%s is unloaded", name)
        except (EngineUnavailable, ApiError) as error:
            _log.warning("%s is not unloaded now: %s", name, error)
        finally:
            self.routing.leaving.discard(name)
            self._metrics.adapters_loaded.set(len(self.routing.loaded))

    async def _delete(self, held: set[str]) -> None:
        """Remove folders of versions that no engine holds, nothing goes back to and that were let go long ago; and what
        writers that died left."""
        for left in self.registry.leftovers(_LEFT_S):
            await asyncio.to_thread(shutil.rmtree, left, ignore_errors=True)
        needed = self.registry.needed()
        for entry in self.registry.entries():
            name = entry.adapter.name
            gone = entry.state in (State.REFUSED, State.RETIRED)
            if not gone or name in held or name in needed or self.routing.in_use(name):
                continue
            if time.time() - entry.mark.changed > self._settings.grace_days * 86_400:
                trash = entry.adapter.folder.with_name(f".{name}.deleted")
                entry.adapter.folder.rename(trash)
                await asyncio.to_thread(shutil.rmtree, trash)
                self.registry.forget(name)
                self._count("deleted")

    def _point(self, kind: Kind, name: str | None, previous: tuple[str | None, ...]) -> None:
        try:
            self.registry.point(kind, name, previous)
        except AdapterError as error:
            raise not_ready(str(error), 30.0) from error
        except IllegalTransition as error:
            raise ApiError(409, "not_proved", str(error)) from error

    def _count(self, event: str) -> None:
        self._metrics.adapter_events.labels(event).inc()

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _because(entry: Entry) -> str:
    return f" ({entry.mark.reason})" if entry.mark.reason else ""
