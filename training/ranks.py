"""Several processes that train one model (`torchrun`): who this one is, and sums over all of them.

A single process is a group of one and needs no set-up.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed


@contextmanager
def group() -> Iterator[None]:
    """The group that torchrun's environment variables describe, if they do: gloo between processors, nccl between
    graphics cards."""
    if "WORLD_SIZE" not in os.environ or distributed.is_initialized():
        yield
        return
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def device() -> torch.device:
    """Where this process computes: its own graphics card, or the processor."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def rank() -> int:
    """Which process this is; 0 writes."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def ranks() -> int:
    """How many there are."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def add_up(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor by its sum over all ranks: one message for all of them."""
    if ranks() > 1:
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        distributed.all_reduce(flat)
        for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))


def added(values: Mapping[str, float]) -> dict[str, float]:
    """Sums over all ranks by name; a rank may lack some."""
    sums: dict[str, float] = {}
    for each in gathered(dict(values)):
        for name, value in each.items():
            sums[name] = sums.get(name, 0.0) + value
    return sums


def gathered(value: Any) -> list[Any]:
    """Everyone's value, by rank."""
    if ranks() == 1:
        return [value]
    values = [None] * ranks()
    distributed.all_gather_object(values, value)
    return values


def wait() -> None:
    """Until every rank is here."""
    if ranks() > 1:
        distributed.barrier()
