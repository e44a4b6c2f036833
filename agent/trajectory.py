"""The record of one refinement, made when it is over."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Literal

from agent.graph import Request
from agent.run import Run
from agent.select import ranked
from memory.records import Problem, Trajectory


def trajectory(
    request: Request,
    run: Run,
    *,
    status: Literal["finished", "deadline", "cancelled", "failed"],
    tenant: str,
    consent: bool,
    started: float,
    detail: str = "",
) -> Trajectory:
    """Everything that happened, up to now. `started` is Unix time, `detail` what went wrong."""
    order = ranked(run.attempts, run.scores)
    return Trajectory(
        id=request.id,
        problem=run.problem or Problem(id=request.id, statement=request.messages[-1]["content"]),
        attempts=tuple(replace(attempt, score=run.scores.get(index)) for index, attempt in enumerate(run.attempts)),
        written=run.written,
        accepted=order[0] if order else None,
        status=status,
        model_version=request.sampling.model,
        tenant=tenant,
        consent=consent,
        started=started,
        ended=time.time(),
        rounds=run.rounds,
        totals=run.totals(),
        detail=detail,
    )
