"""The adapter beside peft's own layers, log-probabilities beside plain ones, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoModelForCausalLM

from tests.training import tiny
from tests.training.examples import imitated, mixed
from training import adapter
from training.adapter import LoraSettings
from training.batch import Batch, collate
from training.errors import BadSettings, CheckpointError


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.model(tmp_path_factory.mktemp("tiny") / "base")


def moved(base: Path, settings: LoraSettings | None = None) -> peft.PeftModel:
    """A model whose adapter does something."""
    model = adapter.build(base, settings or LoraSettings(), seed=1)
    with adapter.seeded(5), torch.no_grad():
        for name, parameter in adapter.trained(model).items():
            if "lora_B" in name:
                parameter.normal_(std=0.05)
    return model


def gradients(model: peft.PeftModel) -> dict[str, torch.Tensor]:
    return {name: parameter.grad for name, parameter in adapter.trained(model).items() if parameter.grad is not None}


def as_peft_does(base: Path, model: peft.PeftModel) -> peft.PeftModel:
    """The same adapter in peft's own layers."""
    plain = peft.get_peft_model(
        AutoModelForCausalLM.from_pretrained(base),
        peft.LoraConfig(task_type="CAUSAL_LM", r=16, lora_alpha=32, target_modules="all-linear"),
    )
    peft.set_peft_model_state_dict(plain, adapter.weights(model))
    return plain


def plain_logprobs(model: Any, batch: Batch) -> torch.Tensor:
    logits = model(input_ids=batch.input_ids).logits.float().flatten(0, 1)[batch.positions]
    return logits.log_softmax(1).gather(1, batch.targets[:, None]).squeeze(1)


def test_a_fresh_adapter_changes_nothing(base: Path) -> None:
    model = adapter.build(base, LoraSettings())
    batch = collate(mixed(4))
    with torch.no_grad():
        assert torch.equal(adapter.logprobs(model, batch), adapter.logprobs(model, batch, reference=True))


def test_log_probabilities_and_gradients_are_those_of_plain_layers(base: Path) -> None:
    model, batch = moved(base), collate(mixed(6))
    plain = as_peft_does(base, model)
    slope = torch.linspace(-1, 1, len(batch.targets))

    ours, theirs = adapter.logprobs(model, batch), plain_logprobs(plain, batch)
    (ours * slope).sum().backward()
    (theirs * slope).sum().backward()

    assert torch.allclose(ours, theirs, atol=1e-5)
    found, wanted = gradients(model), gradients(plain)
    assert found.keys() == wanted.keys() and len(found) == 4 * 7 * 2
    for name, grad in found.items():
        assert torch.allclose(grad, wanted[name], rtol=1e-4, atol=1e-6), name


def test_the_size_of_chunks_changes_nothing(base: Path) -> None:
    model, batch = moved(base), collate(mixed(6))
    results = []
    for chunk_bytes in (1, 4 * tiny.VOCABULARY * 7, 1 << 27):
        model.zero_grad()
        made = adapter.logprobs(model, batch, chunk_bytes=chunk_bytes)
        made.sum().backward()
        results.append((made.detach(), gradients(model)))
    for made, grads in results[1:]:
        assert torch.allclose(made, results[0][0], atol=1e-5)
        for name, grad in grads.items():
            bound = 1e-5 * float(results[0][1][name].abs().max())  # sums in another order round otherwise
            assert torch.allclose(grad, results[0][1][name], rtol=1e-4, atol=bound), name


class Largest(TorchDispatchMode):  # type: ignore[misc]
    """Notes the size of the largest tensor that is made."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(made) if isinstance(leaf, torch.Tensor)]
        self.elements = max(self.elements, *sizes, 0)
        return made


def test_the_logits_of_all_tokens_never_exist(base: Path) -> None:
    model, batch = moved(base), collate([imitated(number, prompt=4, completion=120) for number in range(8)])
    rows = 64
    with Largest() as largest:
        adapter.logprobs(model, batch, chunk_bytes=4 * tiny.VOCABULARY * rows).sum().backward()
    assert rows * tiny.VOCABULARY <= largest.elements < 8 * 120 * tiny.VOCABULARY / 2


def test_the_reference_is_the_base_model(base: Path) -> None:
    model, batch = moved(base), collate(mixed(4))
    found = adapter.logprobs(model, batch, reference=True)
    wanted = plain_logprobs(AutoModelForCausalLM.from_pretrained(base), batch)
    assert torch.allclose(found, wanted, atol=1e-5) and not found.requires_grad
    assert not torch.allclose(found, adapter.logprobs(model, batch), atol=1e-2)


def test_padding_changes_nothing(base: Path) -> None:
    model, examples = moved(base), mixed(6)
    together = adapter.logprobs(model, collate(examples))
    alone = torch.cat([adapter.logprobs(model, collate([example])) for example in examples])
    assert torch.allclose(together, alone, atol=1e-5)


def test_recomputed_layers_give_the_same_gradient(base: Path) -> None:
    batch = collate(mixed(4))
    kept, recomputed = moved(base), moved(base, LoraSettings(checkpointing=True))
    for model in (kept, recomputed):
        adapter.logprobs(model, batch).sum().backward()
    assert recomputed.get_base_model().is_activation_checkpointing
    for name, grad in gradients(recomputed).items():
        assert torch.allclose(grad, gradients(kept)[name], rtol=1e-5, atol=1e-7), name


def test_in_bfloat16_the_adapter_stays_float32(base: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    tiny.tokenizer().save_pretrained(half)
    AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16).save_pretrained(half)
    batch, exact = collate(mixed(6)), moved(base)
    model = moved(half)
    assert model.dtype == torch.bfloat16 and adapter.head(model).dtype == torch.bfloat16
    for each in (model, exact):
        adapter.logprobs(each, batch).mean().backward()
    assert torch.allclose(adapter.logprobs(model, batch), adapter.logprobs(exact, batch), atol=0.1)
    for name, grad in gradients(model).items():
        wanted = gradients(exact)[name]
        assert grad.dtype == torch.float32
        assert torch.nn.functional.cosine_similarity(grad.flatten(), wanted.flatten(), dim=0) > 0.99, name


def test_only_the_adapter_learns_and_seeds_decide_where_it_begins(base: Path) -> None:
    before = torch.get_rng_state()
    same, again, other = (adapter.build(base, LoraSettings(rank=4), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert all("lora_" in name for name in adapter.trained(same))
    assert all(parameter.dtype == torch.float32 for parameter in adapter.trained(same).values())
    name = next(name for name in adapter.weights(same) if "lora_A" in name)
    assert torch.equal(adapter.weights(same)[name], adapter.weights(again)[name])
    assert not torch.equal(adapter.weights(same)[name], adapter.weights(other)[name])


def test_dropout_is_off_outside_of_training(base: Path) -> None:
    model, batch = moved(base, LoraSettings(dropout=0.5)), collate(mixed(3))
    torch.manual_seed(0)
    assert not torch.equal(adapter.logprobs(model, batch), adapter.logprobs(model, batch))
    model.eval()
    assert torch.equal(adapter.logprobs(model, batch), adapter.logprobs(model, batch))


def test_what_is_saved_is_the_adapter_and_comes_back(base: Path, tmp_path: Path) -> None:
    model = moved(base, LoraSettings(rank=4, alpha=8, targets=("q_proj", "down_proj")))
    adapter.save(model, tmp_path / "saved", "/served/model")
    assert {file.name for file in (tmp_path / "saved").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    config = json.loads((tmp_path / "saved" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "/served/model"
    assert (config["peft_type"], config["r"], config["lora_alpha"]) == ("LORA", 4, 8)
    assert config["target_modules"] == ["down_proj", "q_proj"]
    tensors = load_file(tmp_path / "saved" / "adapter_model.safetensors")
    assert len(tensors) == 4 * 2 * 2 and all("lora_" in name for name in tensors)

    settings = LoraSettings(rank=4, alpha=8, targets=("q_proj", "down_proj"))
    again = adapter.build(base, settings, resume=tmp_path / "saved", seed=9)
    assert all(torch.equal(tensor, adapter.weights(again)[name]) for name, tensor in adapter.weights(model).items())
    assert {name for name, tensor in again.named_parameters() if tensor.requires_grad} == set(adapter.trained(again))


@pytest.mark.parametrize("other", [{"rank": 8}, {"rank": 4, "alpha": 64}, {"rank": 4, "targets": ("q_proj",)}])
def test_an_adapter_of_another_shape_is_refused(base: Path, tmp_path: Path, other: dict[str, Any]) -> None:
    adapter.save(adapter.build(base, LoraSettings(rank=4)), tmp_path / "saved", "x")
    with pytest.raises(CheckpointError, match=r"rank 4 and alpha 32 .* settings ask for rank"):
        adapter.build(base, LoraSettings(**other), resume=tmp_path / "saved")


@pytest.mark.parametrize("key, value", [("use_dora", True), ("bias", "all"), ("modules_to_save", ["lm_head"])])
def test_an_adapter_that_cannot_be_served_is_no_beginning(base: Path, tmp_path: Path, key: str, value: object) -> None:
    adapter.save(adapter.build(base, LoraSettings()), tmp_path / "saved", "x")
    file = tmp_path / "saved" / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    with pytest.raises(CheckpointError, match=key):
        adapter.build(base, LoraSettings(), resume=tmp_path / "saved")


def test_a_broken_or_missing_adapter_is_named(base: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere"):
        adapter.build(base, LoraSettings(), resume=tmp_path / "nowhere")
    adapter.save(adapter.build(base, LoraSettings()), tmp_path / "saved", "x")
    file = tmp_path / "saved" / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="adapter_model"):
        adapter.build(base, LoraSettings(), resume=tmp_path / "saved")
    save_file({"other": torch.zeros(1)}, file)
    with pytest.raises(CheckpointError, match="settings ask for"):
        adapter.build(base, LoraSettings(), resume=tmp_path / "saved")


@pytest.mark.parametrize(
    "settings, name",
    [
        ({"use_dora": True}, "lora.use_dora"),
        ({"bias": "all"}, "lora.bias"),
        ({"modules_to_save": ["lm_head"]}, "lora.modules_to_save"),
        ({"target_parameters": ["experts"]}, "lora.target_parameters"),
        ({"rank": 32}, "lora.rank"),
        ({"what": 1}, "what"),
    ],
)
def test_settings_that_cannot_be_served_are_refused_by_name(settings: dict[str, Any], name: str) -> None:
    with pytest.raises(ValidationError, match=name):
        LoraSettings(**settings)


@pytest.mark.parametrize("target", ["lm_head", "embed_tokens", "norm", "w_proj"])
def test_targets_that_cannot_be_served_are_refused(base: Path, target: str) -> None:
    with pytest.raises(BadSettings, match=rf"lora.targets: .*{target}.*q_proj"):
        adapter.build(base, LoraSettings(targets=("q_proj", target)))


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match=str(tmp_path)):
        adapter.build(tmp_path, LoraSettings())
