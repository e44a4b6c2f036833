"""The quality part of the composite reward, after FALCON's judges (arXiv 2410.21349); the definition is our own.

    R_total = R_adaptive(outcome, pass share) + [passed] · Q,    Q in [0, 0.3]
    Q       = 0.3 · mean over the judges k of clip((z_k + 2) / 4, 0, 1),    z_k: z-score within the batch

FALCON judges style, complexity and instructions with signed scores. Here quality counts for passing
programs only and is never negative: under the adaptive reward `-0.3 + 1.3 · passed / total` a program that fails one
test of a hundred stands 0.013 below one that passes, so that any signed part would rank some failing program first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from memory.records import Outcome, Quality, Verdict

CEILING = 0.3
"""The largest bonus."""


def bonuses(batch: Sequence[tuple[Verdict | None, Quality]]) -> list[float]:
    """The bonus of each program of a batch, 0 to 0.3, in order; best taken over the attempts of one problem.

    0 for every program that did not pass, was never tested, or was tested only beside itself, where it could forge the
    verdict. A judge's z-scores are taken over the programs that count and that it judged; where all are alike, z is 0.
    A passing program that no judge knows gets what an average one gets, 0.15: missing is no bad mark.
    """
    passed = [_shares(quality) for verdict, quality in batch if _counts(verdict)]
    scales = [_scale([share for share in column if share is not None]) for column in zip(*passed, strict=True)]
    return [_bonus(_shares(quality), scales) if _counts(verdict) else 0.0 for verdict, quality in batch]


_Scale = tuple[float, float]
"""Mean and standard deviation."""
_ALIKE = 1e-6
"""Shares that differ by less are the same."""


def _counts(verdict: Verdict | None) -> bool:
    return (
        verdict is not None
        and verdict.outcome is Outcome.PASSED
        and verdict.total > 0
        and verdict.integrity == "isolated"
    )


def _shares(quality: Quality) -> tuple[float | None, ...]:
    return quality.style, quality.complexity, quality.instructions


def _scale(shares: Sequence[float]) -> _Scale:
    mean = math.fsum(shares) / len(shares) if shares else 0.0
    return mean, math.sqrt(math.fsum((share - mean) ** 2 for share in shares) / len(shares)) if shares else 0.0


def _bonus(shares: Sequence[float | None], scales: Sequence[_Scale]) -> float:
    parts = [_part(share, *scale) for share, scale in zip(shares, scales, strict=True) if share is not None]
    return CEILING * (math.fsum(parts) / len(parts) if parts else 0.5)


def _part(share: float, mean: float, deviation: float) -> float:
    z = (share - mean) / deviation if deviation > _ALIKE else 0.0
    return min(1.0, max(0.0, (z + 2) / 4))
