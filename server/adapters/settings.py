"""Settings of adapters at run time."""

from __future__ import annotations

from pydantic import Field

from agent.settings import Frozen


class AdapterSettings(Frozen):
    """How versions are proved, chosen, watched and let go."""

    keep: int = Field(default=3, ge=1, le=3)
    """Versions of a kind that stay loaded: the live one, the one before, candidates."""
    grace_days: float = Field(default=30.0, ge=0)
    """How long the folder of a refused or retired version is kept."""
    poll_s: float = Field(default=10.0, gt=0)
    """Between two looks at what the engine holds and how the live version does."""
    probe_cap: float = Field(default=0.25, gt=0)
    """Largest mean difference of log-probabilities between what was trained and what is served."""
    probe_floor: float = Field(default=0.001, ge=0)
    """Smallest mean difference between adapter and base model with which anything can be proved."""
    gate_problems: int = Field(default=50, ge=1)
    """Fewest held-out problems that a promotion may rest on."""
    gate_tolerance: float = Field(default=0.02, ge=0, le=1)
    """How far below zero the lower 95 % limit of the gain may lie."""
    gate_margin: float = Field(default=0.01, ge=-1, le=1)
    """Smallest gain in the share of problems solved."""
    watch_s: float = Field(default=3600.0, ge=0)
    """How long a promotion is watched; 0: not at all."""
    watch_answers: int = Field(default=30, ge=1)
    """Fewest answers, before and after, that a version is judged by."""
    watch_margin: float = Field(default=0.1, ge=0, le=1)
    """Loss in the share of verified answers, or gain in that of failures, that takes a promotion back."""
    watch_slower: float = Field(default=2.0, gt=1)
    """Factor by which the median time of an answer may grow before the promotion is taken back."""
