"""What the server counts, in Prometheus' terms (docs/metrics.md explains each)."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = tuple(0.01 * 2**power for power in range(16))
"""0.01 to 327.68 s, doubling."""


class Metrics:
    """One registry per application, so that tests and several apps in a process do not mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "burnish_requests", "Requests answered", ["path", "mode", "status"], registry=self.registry
        )
        self.request_seconds = self._histogram("burnish_request_seconds", "Request to last byte", ["path", "mode"])
        self.overhead_seconds = self._histogram(
            "burnish_overhead_seconds", "Request time outside engine and sandbox", ["path", "mode"]
        )
        self.inflight = Gauge("burnish_inflight_requests", "Requests being served", ["mode"], registry=self.registry)
        self.verdicts = Counter(
            "burnish_verdicts", "Refined answers by verdict", ["verdict", "tests_source"], registry=self.registry
        )
        self.deadline_returns = Counter(
            "burnish_deadline_returns", "Answers returned because the time was up", registry=self.registry
        )
        self.candidates = Histogram(
            "burnish_candidates",
            "Programs sampled per refinement",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self.registry,
        )
        self.rounds = Histogram(
            "burnish_rounds", "Repair rounds per refinement", buckets=(0, 1, 2, 3, 4, 8, 16), registry=self.registry
        )
        self.time_to_verified = self._histogram("burnish_time_to_verified_seconds", "Time to a verified answer")
        self.sandbox_runs = Counter("burnish_sandbox_runs", "Programs executed", ["outcome"], registry=self.registry)
        self.trajectories = Counter("burnish_trajectories", "Trajectories stored", ["outcome"], registry=self.registry)
        self.trajectory_failures = Counter(
            "burnish_trajectory_failures", "Trajectories the store did not take at once", registry=self.registry
        )
        self.experiences = Counter("burnish_experiences", "New experiences kept", registry=self.registry)
        self.recalled = Counter(
            "burnish_recalled",
            "Experiences shown or tried, by whether a program passed",
            ["helped"],
            registry=self.registry,
        )
        self.memory_failures = Counter(
            "burnish_memory_failures", "Times that memory could not keep something", registry=self.registry
        )
        self.cancelled = Counter("burnish_cancelled", "Requests whose client went away", registry=self.registry)
        self.adapter_events = Counter(
            "burnish_adapter_events", "What became of adapters", ["event"], registry=self.registry
        )
        self.adapters_loaded = Gauge(
            "burnish_adapters_loaded", "Adapters that every replica of the engine holds", registry=self.registry
        )
        self.version_answers = Counter(
            "burnish_version_answers", "Refined answers by version", ["version", "verdict"], registry=self.registry
        )

    def text(self) -> str:
        """Prometheus exposition format."""
        return generate_latest(self.registry).decode()

    def _histogram(self, name: str, text: str, labels: list[str] | None = None) -> Histogram:
        return Histogram(name, text, labels or [], buckets=_SECONDS, registry=self.registry)
