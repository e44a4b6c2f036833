"""Adapters of a batch on a CPU, in the engine's own environment."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from server.engine import extension
from server.engine.settings import EngineSettings
from server.engine.vllm import has_gpu

_PRODUCTS = """
import json, torch
import cpu_adapters
from vllm.lora.layers import LoRAMapping
from vllm.lora.punica_wrapper.punica_selector import get_punica_wrapper

draw = torch.Generator().manual_seed(0)
wide, rank, slots = (24, 40), 4, 3
found = {}
for name, owners in {"mixed": [0, -1, 2, 0, 1, -1], "one": [1, 1, 1], "none": [-1, -1], "last": [-1, 2]}.items():
    wrapper = get_punica_wrapper(64, 8, "cpu", max_loras=slots)
    adapters = [owner + 1 for owner in owners]  # vLLM numbers them from 1; 0 is none
    wrapper.update_metadata(LoRAMapping(adapters, adapters), [slot + 1 for slot in range(slots)], slots + 1, 100)
    x, y = torch.randn(len(owners), 16, generator=draw), torch.randn(len(owners), sum(wide), generator=draw)
    a = tuple(torch.randn(slots, 1, rank, 16, generator=draw) for _ in wide)
    b = tuple(torch.randn(slots, 1, size, rank, generator=draw) for size in wide)
    wanted = y.clone()
    for token, owner in enumerate(owners):
        if owner >= 0:
            parts = [0.5 * x[token] @ down[owner, 0].T @ up[owner, 0].T for down, up in zip(a, b)]
            wanted[token] += torch.cat(parts)
    linear = y.clone()
    wrapper.add_lora_linear(linear, x, a, b, 0.5, wide)
    logits = y[:, : wide[0]].clone()
    wrapper.add_lora_logits(logits, x, a[0], b[0], 0.5)
    off = [float((linear - wanted).abs().max()), float((logits - wanted[:, : wide[0]]).abs().max())]
    bare = [token for token, owner in enumerate(owners) if owner < 0]
    found[name] = {"off": max(off), "bare": bool((linear[bare] == y[bare]).all())}
print(json.dumps(found))
"""


@pytest.mark.engine
def test_each_token_gets_its_own_adapter() -> None:
    """Token by token, by the definition; tokens without an adapter keep what they had, to the last bit."""
    python = EngineSettings().interpreter()
    if has_gpu(python):
        pytest.skip("this engine environment is for a GPU")
    folder = str(Path(extension.__file__).parent)
    done = subprocess.run(
        [str(python), "-c", _PRODUCTS], env=os.environ | {"PYTHONPATH": folder}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert set(found) == {"mixed", "one", "none", "last"}
    for name, one in found.items():
        assert one["off"] < 1e-4 and one["bare"], name
