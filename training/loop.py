"""The loop: examples become a loss, the loss moves the adapter, and every step is on record.

It knows no algorithm. A plan says which examples a step learns from, an objective what their loss is. The losses of
micro-batches and ranks are shares of the step's loss, divided by counts of the whole step, and add up: gradient
accumulation, micro-batch size and world size change nothing. Under `torchrun` each rank holds the frozen base and takes
every n-th micro-batch; only the adapter's gradients travel.
"""

from __future__ import annotations

import math
import resource
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

import peft
import torch
from pydantic import Field
from torch import Tensor

from agent.settings import Frozen
from training import adapter
from training.checkpoint import Checkpoint, Checkpoints, State
from training.errors import Diverged
from training.metrics import Metrics
from training.plan import Plan
from training.ranks import add_up, added, gathered, rank, ranks
from training.seeds import derived

E = TypeVar("E")
C = TypeVar("C")

Line = dict[str, float]
"""What is logged of one step (docs/metrics.md)."""
_PATIENCE = 3
"""Steps in a row that could not be taken, after which the run ends."""


class OptimiserSettings(Frozen):
    """How far a step goes. AdamW (arXiv 1711.05101)."""

    learning_rate: float = Field(default=1e-4, gt=0)
    """Adapters want about ten times what full fine-tuning wants."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """How the rate falls after the warm-up, down to 0 at the last step."""
    warmup_steps: int = Field(default=0, ge=0)
    """Steps in which the rate rises from 0."""
    weight_decay: float = Field(default=0.0, ge=0)
    betas: tuple[float, float] = (0.9, 0.95)
    epsilon: float = Field(default=1e-8, gt=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Longer gradients are shortened to this."""


class Objective(Protocol[E, C]):
    """What is learned from examples of one kind."""

    def count(self, examples: Sequence[E]) -> C | None:
        """What the losses of a whole step are divided by; None: there is nothing to learn from these examples."""
        ...

    def split(self, examples: Sequence[E]) -> Sequence[Sequence[E]]:
        """Micro-batches, each small enough for the memory; the same on every rank."""
        ...

    def loss(self, model: peft.PeftModel, part: Sequence[E], count: C) -> tuple[Tensor, Mapping[str, float]]:
        """A micro-batch's share of the step's loss, and of what is logged: over all micro-batches both add up."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """How a run ended."""

    step: int
    """Steps taken or skipped, earlier parts of the run included."""
    finished: bool
    """False: it was told to stop before the last step."""


class Learner(Generic[E, C]):
    """A model, and what moves it."""

    def __init__(
        self, model: peft.PeftModel, objective: Objective[E, C], settings: OptimiserSettings, steps: int, seed: int
    ) -> None:
        """`steps` is the length of the schedule; `seed` the root seed of the run."""
        self.model = model
        self.parameters = list(adapter.trained(model).values())
        self.optimiser = torch.optim.AdamW(
            self.parameters,
            lr=settings.learning_rate,
            betas=settings.betas,
            eps=settings.epsilon,
            weight_decay=settings.weight_decay,
        )
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimiser, lambda step: _rate(settings, step, steps))
        self._objective = objective
        self._max_norm = settings.max_grad_norm
        self._seed = seed

    def step(self, examples: Sequence[E], number: int) -> Line:
        """Learn from the examples of one step, or leave everything as it was; then `skipped` is 1."""
        self.optimiser.zero_grad(set_to_none=True)
        count = self._objective.count(examples)
        if count is None:
            return {"skipped": 1.0}
        torch.manual_seed(derived(self._seed, "dropout", number, rank()))
        line = self._shares(examples, count, backward=True)
        for parameter in self.parameters:
            if parameter.grad is None:  # this rank had no micro-batch
                parameter.grad = torch.zeros_like(parameter)
        add_up([parameter.grad for parameter in self.parameters])
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters, self._max_norm))
        line |= {"grad_norm": norm, "learning_rate": self.scheduler.get_last_lr()[0]}
        if not (math.isfinite(line["loss"]) and math.isfinite(norm)):
            return line | {"skipped": 1.0}
        self.optimiser.step()
        self.scheduler.step()
        return line | {"skipped": 0.0}

    def judge(self, examples: Sequence[E]) -> Line:
        """The same loss without learning from it; empty if these examples have none."""
        count = self._objective.count(examples)
        if count is None:
            return {}
        self.model.eval()
        with torch.no_grad():
            line = self._shares(examples, count, backward=False)
        self.model.train()
        return line

    def _shares(self, examples: Sequence[E], count: C, *, backward: bool) -> Line:
        """Add up the micro-batches of this rank, then the ranks."""
        sums: Counter[str] = Counter()
        for part in self._objective.split(examples)[rank() :: ranks()]:
            loss, values = self._objective.loss(self.model, part, count)
            if backward:
                loss.backward()
            sums.update({"loss": float(loss.detach()), **values})
        return added(sums)


def fit(
    learner: Learner[E, C],
    plan: Plan[E],
    checkpoints: Checkpoints,
    metrics: Metrics,
    *,
    steps: int,
    save_every: int,
    resume: Checkpoint | None = None,
    held_out: Sequence[E] = (),
    tell: Callable[[int, Line], None] = lambda step, line: None,
    stop: Callable[[], bool] = lambda: False,
) -> Fitted:
    """Until `steps` steps are done, from the beginning or from `resume`, whose adapter the learner's model has.

    A checkpoint is written every `save_every` steps, at the end, and when `stop` ends the run between two steps.
    Raises Diverged after three steps in a row that could not be taken, CheckpointError if the disk is full: what was
    written before stays."""
    state = resume.restore(learner, plan) if resume else State()
    if rank() == 0:
        metrics.rewind(state.step)
    stopped = False
    while state.step < steps and not stopped:
        began = time.perf_counter()
        examples = plan.draw()
        line = learner.step(examples, state.step)
        _count(state, line)
        stopped = any(gathered(stop()))
        due = stopped or state.step % save_every == 0 or state.step == steps
        seconds = time.perf_counter() - began
        line |= {"sequences": len(examples), "tokens_seen": state.tokens, "seconds": seconds}
        line |= {"tokens_per_second": line.get("tokens", 0.0) / seconds, "peak_mb": _peak_mb()}
        if due and held_out:
            judged = learner.judge(held_out)
            line |= {f"held_out/{name}": value for name, value in judged.items() if "tokens" not in name}
        if rank() == 0:
            metrics.add(state.step, line)
            tell(state.step, line)
        if state.skipped_in_a_row >= _PATIENCE:
            raise Diverged(_why(line, state.step))
        if due:
            checkpoints.save(learner, plan, state, score=line.get("held_out/loss"))
    return Fitted(step=state.step, finished=state.step >= steps)


def _count(state: State, line: Line) -> None:
    skipped = line["skipped"] > 0
    state.step += 1
    state.tokens += int(line.get("tokens", 0))
    state.skipped += skipped
    state.skipped_in_a_row = state.skipped_in_a_row + 1 if skipped else 0


def _why(line: Line, step: int) -> str:
    if "loss" not in line:
        return (
            f"steps {step - _PATIENCE + 1} to {step} had nothing to learn from: all rewards of their examples equal "
            "their baselines. Collect problems that the model solves sometimes, or choose another baseline"
        )
    return (
        f"steps {step - _PATIENCE + 1} to {step} could not be taken: the loss is {line['loss']}, the length of the "
        f"gradient {line['grad_norm']}. Start again with a smaller optimiser.learning_rate, or look for samples with "
        "log-probabilities that are not finite; the last checkpoint is from before"
    )


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _rate(settings: OptimiserSettings, step: int, steps: int) -> float:
    """Share of the learning rate at a step."""
    if step < settings.warmup_steps:
        return (step + 1) / settings.warmup_steps
    left = 1 - (step - settings.warmup_steps) / max(1, steps - settings.warmup_steps)
    if settings.schedule == "linear":
        return max(0.0, left)
    return 0.5 * (1 - math.cos(math.pi * left)) if settings.schedule == "cosine" else 1.0
