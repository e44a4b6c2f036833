"""The contract of a sandbox: what callers may rely on and what each failure means.

Whatever the submitted program does (wrong answer, exception, endless loop, attack) is a `Verdict`. `sandbox_error`
inside a verdict is Burnish's own failure for that run, after one retry. Exceptions mean that no run can happen at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from memory.records import Limits, Test, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """What this machine lets the sandbox enforce, proved by probes at start."""

    tier: str
    """`A-root`, `A-user` or `B` (docs/sandbox.md)."""
    features: tuple[str, ...]
    missing: tuple[str, ...]
    """What a better tier would need, each with what to install or enable."""


class Sandbox(Protocol):
    """Runs untrusted programs."""

    @property
    def isolation(self) -> Isolation:
        """The tier in force."""

    @property
    def waiting(self) -> int:
        """Runs that wait for a free worker."""

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
        """Run `tests` against `code`; one `CaseResult` per test, several for a `CodeTest` that holds several.

        `prelude` is executed in the program's namespace before it and has no part in its line numbers. With no tests
        the program is loaded, which is all that `passed` then says (0 of 0). Waits for a free worker, in turn with the
        runs of other `owner`s; CPU and wall clocks start when the program starts. Cancelling the call kills the run's
        processes at once.
        With `flaky_check` everything runs twice with different random numbers (the hash seed stays), and the verdict is
        the worse of both, marked `flaky` if they disagree.
        `language` is one of `native.language.Language` or an alias; programs in others than Python take call and stdio
        tests, have no executed lines, and end with `sandbox_error` where their toolchain is missing.
        Raises UnknownLanguage; IsolationUnavailable if the required isolation tier is not available; BadTests if a
        test cannot be run in any sandbox (for example test source that does not compile).
        """

    async def aclose(self) -> None:
        """Kill running programs and end the workers."""
