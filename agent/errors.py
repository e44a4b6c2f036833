"""Failures of Burnish itself.

AgentError
├── EngineError            the engine did not do what was asked
│   ├── EngineUnavailable  refused, timed out, cut off or 5xx: worth a retry
│   └── EngineRefused      4xx: the request itself is wrong; `.status` and `.body` tell
├── IsolationUnavailable   this machine cannot isolate programs; `.missing` says what to install
├── AdapterError           an adapter's folder is not whole, not servable, or cannot be written
├── BadTests               tests that cannot be run: syntax errors, unknown shapes
└── UnknownLanguage        programs in this language are never run
"""

from __future__ import annotations


class AgentError(Exception):
    """Root of this package's exceptions."""


class EngineError(AgentError):
    """The engine did not do what was asked."""


class EngineUnavailable(EngineError):
    """The engine refused the connection, timed out, cut the answer or failed with 5xx."""


class EngineRefused(EngineError):
    """The engine answered 4xx."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"engine answered {status}: {body[:500]}")
        self.status = status
        self.body = body


class IsolationUnavailable(AgentError):
    """Programs cannot be isolated on this machine, so none is executed."""

    def __init__(self, missing: tuple[str, ...]) -> None:
        super().__init__("programs cannot be isolated here: " + "; ".join(missing))
        self.missing = missing


class AdapterError(AgentError):
    """An adapter's folder is not whole, cannot be served, or cannot be written."""


class BadTests(AgentError):
    """A test cannot be run in any sandbox."""


class UnknownLanguage(AgentError):
    """Programs in this language are never run."""
