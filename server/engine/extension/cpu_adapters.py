"""Adapters on a CPU, one matrix product per adapter of a batch. Runs inside vLLM (`--worker-extension-cls`).

vLLM 0.32 copies an adapter's matrices once for every token of a batch, in float32, and tokens without an adapter, index
-1, get the last one (vllm/lora/ops/torch_ops/lora_ops.py). Here the tokens of each adapter are multiplied together, in
the model's type, and those without one are left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from torch import Tensor
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU
from vllm.platforms import current_platform

_Adapters: TypeAlias = Sequence[tuple[int, slice | Tensor]]
"""The adapters of a batch by their slots, each with its tokens."""


class GroupedAdapters(PunicaWrapperCPU):  # type: ignore[misc]
    """The products of a layer's adapters. `a` is [adapters, 1, rank, in], `b` is [adapters, 1, out, rank], each per
    slice of the layer; `x` is [..., in], `y` is [..., out] and is changed in place."""

    def update_metadata(self, *batch: Any, **kwargs: Any) -> None:
        """What vLLM tells when the batch changes: which token has which adapter."""
        super().update_metadata(*batch, **kwargs)
        self._of_tokens = _adapters(self.token_lora_indices)
        self._of_logits = _adapters(self.sampler_indices)

    def add_lora_linear(
        self,
        y: Tensor,
        x: Tensor,
        lora_a_stacked: tuple[Tensor, ...],
        lora_b_stacked: tuple[Tensor, ...],
        scale: float,
        output_slices: tuple[int, ...],
        **kwargs: Any,
    ) -> None:
        """y[:, slice] += scale x A' B' for each slice."""
        out, rows = y.view(-1, y.shape[-1]), x.view(-1, x.shape[-1])
        start = 0
        for a, b, size in zip(lora_a_stacked, lora_b_stacked, output_slices, strict=True):
            _add(out[:, start : start + size], rows, a, b, scale, self._of_tokens)
            start += size

    def add_lora_logits(
        self, y: Tensor, x: Tensor, lora_a_stacked: Tensor, lora_b_stacked: Tensor, scale: float, **kwargs: Any
    ) -> None:
        """y += scale x A' B', of the tokens that logits are made for."""
        out, rows = y.view(-1, y.shape[-1]), x.view(-1, x.shape[-1])
        _add(out[:, : lora_b_stacked.shape[-2]], rows, lora_a_stacked, lora_b_stacked, scale, self._of_logits)


def _add(y: Tensor, x: Tensor, a: Tensor, b: Tensor, scale: float, adapters: _Adapters) -> None:
    for index, own in adapters:
        inner = x[own].to(a.dtype) @ a[index, 0].t()
        y[own] += ((inner * scale) @ b[index, 0].t()).to(y.dtype)


def _adapters(indices: Tensor) -> _Adapters:
    present = indices.unique().tolist()
    if len(present) == 1:
        return [(present[0], slice(None))] if present[0] >= 0 else []
    return [(index, (indices == index).nonzero()[:, 0]) for index in present if index >= 0]


class Extension:
    """What vLLM adds to its worker: nothing. Importing this module is what counts."""


type(current_platform).get_punica_wrapper = classmethod(lambda cls: f"{GroupedAdapters.__module__}.GroupedAdapters")
