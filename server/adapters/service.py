"""What the server does with versions: choose one per request, load, prove, promote, roll back, let go.

Traffic never waits for any of this: a version is loaded and proved beside the live one, and going live is one write of
the pointer. A request that has begun keeps its version; one that is let go is unloaded when nothing uses it any more.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

from agent.adapters import KINDS, Kind, check, check_shape, kind_of
from agent.calibration import Calibration
from agent.errors import AdapterError, EngineUnavailable
from agent.evaluation import GateReport
from server.adapters.probe import Bounds, Proof, prove
from server.adapters.promotion import Decision, decide
from server.adapters.registry import Entry, IllegalTransition, Registry, State
from server.adapters.replicas import Replicas, unsupported
from server.adapters.settings import AdapterSettings
from server.adapters.watch import Ending, Watch
from server.engine.link import EngineLink
from server.errors import ApiError, bad_request, not_ready
from server.metrics import Metrics

BASE = "base"
"""The base model, as `burnish.version`."""
_PAST = 10
"""Former live versions that are remembered."""
_LEFT_S = 86_400.0
"""A version that is being written for longer is never finished."""
_VERDICTS = {True: "passed", False: "failed", None: "unverified"}
_ROUTABLE = (State.PROVED, State.LIVE)

_log = logging.getLogger("burnish.adapters")


@dataclass(frozen=True, slots=True)
class Models:
    """What one trajectory is answered with, by the engine's names."""

    actor: str
    critic: str


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
        self._replicas = replicas
        self._link = link
        self._settings = settings
        self._metrics = metrics
        self._max_rank = max_rank
        self._base_digest = base_digest
        self._watch = watch or Watch(settings)
        self._base: str | None = None
        self._bounds = Bounds(cap=settings.probe_cap, floor=settings.probe_floor)
        self._loaded: set[str] = set()
        self._pins: Counter[str] = Counter()
        self._freed = asyncio.Event()
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._letting_go: set[str] = set()

    def start(self) -> None:
        """Look after the versions from now on."""
        self._spawn(self._keep_up())

    async def aclose(self) -> None:
        """Look after them no more; what is loaded stays."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def choose(self, version: str | None) -> Models:
        """What answers now: the live versions, or the actor that a request names. Raises ApiError 400 or 503."""
        base = self._base_name
        if base is None:
            raise not_ready("the engine has not told its model yet", 5.0)
        live = self.registry.live()
        actor, critic = live.actor, live.critic
        if version is not None and version not in (BASE, base):
            known = self.routable("actor")
            if version not in known:
                raise bad_request(
                    f"there is no version {version!r}; choose one of: {', '.join([BASE, *known])}",
                    param="burnish.version",
                )
            actor = version
        elif version is not None:
            actor = None
        return Models(
            actor=actor if actor is not None and self.is_routable(actor) else base,
            critic=critic if critic is not None and self.is_routable(critic) else base,
        )

    @contextmanager
    def pinned(self, version: str | None) -> Iterator[Models]:
        """`choose`, and keep what was chosen loaded until the context ends."""
        models = self.choose(version)
        with self.using(models.actor), self.using(models.critic):
            yield models

    @contextmanager
    def using(self, name: str) -> Iterator[None]:
        """Keep a version loaded while the context lasts; any model's name will do."""
        self._pins[name] += 1
        try:
            yield
        finally:
            self._pins[name] -= 1
            self._freed.set()

    def calibration(self, critic: str) -> Calibration | None:
        """How what a critic says becomes a probability; None for the base model, and where it was never fitted."""
        adapter = self.registry.adapter(critic) if critic in self._loaded else None
        return adapter.card.calibration if adapter is not None else None

    def is_routable(self, name: str) -> bool:
        """Whether requests may be sent to it: proved, loaded everywhere, and not being let go."""
        if name not in self._loaded or name in self._letting_go:
            return False
        entry = self.registry.find(name)
        return entry is not None and entry.state in _ROUTABLE

    def routable(self, kind: Kind | None = None) -> list[str]:
        """The versions that requests may name, live ones first."""
        live = self.registry.live()
        names = [name for name in self.registry.names() if self.is_routable(name)]
        names.sort(key=lambda name: name not in (live.actor, live.critic))
        return [name for name in names if kind is None or kind_of(name) == kind]

    def knows(self, name: str) -> bool:
        """Whether it is a version of this data directory."""
        return name in self.registry.names()

    def serves(self, name: str) -> bool:
        """Whether a model that the engine lists may be asked for by its name."""
        return not self.knows(name) or self.is_routable(name)

    def live(self) -> tuple[str, ...]:
        """The live versions that requests are sent to."""
        pointer = self.registry.live()
        return tuple(name for name in (pointer.actor, pointer.critic) if name is not None and self.is_routable(name))

    def lost(self, name: str) -> None:
        """The engine says that it has no such model: it is loaded again soon, and not asked meanwhile."""
        if name in self._loaded:
            _log.error("the engine has lost %s", name)
            self._loaded.discard(name)

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
            if self.is_routable(name):
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
            self._loaded.add(name)
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
            if not self.is_routable(name):
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
            while past and past[0] is not None and not self.is_routable(past[0]):
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
            self._base = served.name
            async with self._lock:
                self._loaded.clear()
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
        self._base = (await self._link.look())[0].name
        if not self._link.is_vllm:
            return
        async with self._lock:
            held = await self._replicas.holding()
            self._loaded &= set(held)
            await self._restore()
        await self._delete(set(held))

    async def _restore(self) -> None:
        """Load and prove what should be loaded and is not. A live version that fails is rolled back."""
        for kind in KINDS:
            for name in self._wanted(kind):
                entry = self.registry.find(name)
                if entry is None or name in self._loaded or name in self._letting_go or self._foreign(entry):
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
                    self._loaded.add(name)
                    continue
                live = self.registry.live()
                if live.of(kind) == name:
                    past = live.before(kind)
                    self._point(kind, past[0] if past else None, past[1:])
                    self._count("rolled_back")
                self._refuse(name, f"{wrong.result} after the engine's start: {wrong.reason}")
        self._metrics.adapters_loaded.set(len(self._loaded))

    @property
    def _base_name(self) -> str | None:
        return self._base or self._link.base_name

    def _find(self, name: str) -> Entry:
        entry = self.registry.find(name)
        if entry is None:
            there = ", ".join(self.registry.names()) or "none"
            raise ApiError(
                404, "adapter_not_found", f"there is no version {name!r} in {self.registry.root}; there are: {there}"
            )
        return entry

    async def _check_engine(self) -> None:
        self._base = (await self._link.base()).name
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
        card, base, digest = entry.adapter.card, self._base_name, self._base_digest()
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
        base = self._base_name or entry.adapter.card.base
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
        now = self.registry.live().of(kind) or self._base_name
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
        self._metrics.adapters_loaded.set(len(self._loaded))

    def _wanted(self, kind: Kind) -> list[str]:
        """The versions to be kept loaded; what a rollback goes back to is always among them."""
        order = self.registry.order(kind)
        back = self.registry.live().before(kind)[:1]
        return order[: self._settings.keep] + [name for name in order[self._settings.keep :] if name in back]

    def _let_go(self, name: str) -> None:
        self._letting_go.add(name)
        self._spawn(self._unload(name))

    async def _unload(self, name: str) -> None:
        """Nothing is sent to it any more: wait for what was, then unload it everywhere and see that it is gone."""
        try:
            while self._pins[name] > 0:
                self._freed.clear()
                await self._freed.wait()
            async with self._lock:
                entry = self.registry.find(name)
                if entry is not None and entry.state in _ROUTABLE:
                    return
                await self._replicas.unload(name)
                self._loaded.discard(name)
                await self._link.look()
                _log.info("%s is unloaded", name)
        except (EngineUnavailable, ApiError) as error:
            _log.warning("%s is not unloaded now: %s", name, error)
        finally:
            self._letting_go.discard(name)
            self._metrics.adapters_loaded.set(len(self._loaded))

    async def _delete(self, held: set[str]) -> None:
        """Remove folders of versions that no engine holds, nothing goes back to and that were let go long ago; and what
        writers that died left."""
        for left in self.registry.leftovers(_LEFT_S):
            await asyncio.to_thread(shutil.rmtree, left, ignore_errors=True)
        needed = self.registry.needed()
        for entry in self.registry.entries():
            name = entry.adapter.name
            gone = entry.state in (State.REFUSED, State.RETIRED)
            if not gone or name in held or name in needed or self._pins[name]:
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
