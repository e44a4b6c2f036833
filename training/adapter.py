"""The model that learns: the served base, frozen, with a LoRA adapter (arXiv 2106.09685) on its linear layers.

One function builds it for fresh and for resumed runs. Three things are done in another way than by peft:

- The adapter's numbers are float32 and are rounded to the base model's type where they are multiplied, as the engine
  rounds them; peft multiplies in float32, for which it copies every layer's input. Gradients are float32 again.
- A layer is one operation: the adapter's share is added in place to the base layer's result.
- Logits are made for the wanted tokens only, some at a time, and never kept: what the gradient needs of them is as
  small as a hidden state and is computed with them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import peft
import torch
from peft.tuners.lora.layer import Linear
from pydantic import Field, model_validator
from safetensors.torch import load_file
from safetensors.torch import save as serialised
from torch import Tensor
from torch.nn import functional
from transformers import AutoModelForCausalLM

from agent.settings import Frozen
from training.errors import BadSettings, CheckpointError

if TYPE_CHECKING:
    from training.batch import Batch

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
_NAME = "default"
_EVERY_LINEAR_LAYER = "all-linear"
_CHUNK_BYTES = 1 << 27
"""Of the logits that exist at the same time, in float32."""
_UNSERVABLE = {
    "use_dora": "DoRA",
    "lora_bias": "a bias of the adapter",
    "modules_to_save": "whole layers beside the adapter",
    "trainable_token_indices": "embeddings of single tokens",
    "target_parameters": "adapters on fused expert parameters",
    "layer_replication": "repeated layers",
    "rank_pattern": "a rank per layer",
    "alpha_pattern": "a scale per layer",
}


class LoraSettings(Frozen):
    """Shape of the adapter. What the engine could not serve is refused here."""

    rank: int = Field(default=16, ge=1)
    """Inner width of the adapter; 8 to 32 is enough for reinforcement learning."""
    alpha: int = Field(default=32, ge=1)
    """The adapter's share is scaled by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of a layer's inputs that the adapter does not see in a step. Above 0 the layers are peft's slower ones."""
    targets: tuple[str, ...] = ()
    """Last names of the linear layers that get one, such as `q_proj`; empty: all but the head."""
    max_rank: int = Field(default=16, ge=1)
    """`--max-lora-rank` of the engine that will serve it (setting `engine.max_lora_rank` of the server)."""
    checkpointing: bool = False
    """Compute layers a second time on the way back instead of keeping what they made: less memory, a third slower."""

    @model_validator(mode="before")
    @classmethod
    def _known_unservable(cls, values: Any) -> Any:
        if isinstance(values, Mapping):
            for name in (*_UNSERVABLE, "bias"):
                if name in values:
                    what = _UNSERVABLE.get(name, "a trained bias")
                    raise ValueError(f"lora.{name}: the engine cannot serve {what}; leave the setting out")
        return values

    @model_validator(mode="after")
    def _servable(self) -> LoraSettings:
        if self.rank > self.max_rank:
            raise ValueError(
                f"lora.rank is {self.rank}, but the engine serves adapters up to rank {self.max_rank}; lower it, or "
                "start the engine with a larger --max-lora-rank and set lora.max_rank to that"
            )
        return self


def build(base: Path, settings: LoraSettings, *, resume: Path | None = None, seed: int = 0) -> peft.PeftModel:
    """The base model in `base` with an adapter: a fresh one that changes nothing yet, or the one saved in `resume`.

    Only the adapter's tensors require gradients; they are float32. Raises BadSettings for a shape that cannot be
    served, CheckpointError if `resume` holds another shape.
    """
    try:
        model = AutoModelForCausalLM.from_pretrained(
            base, dtype="auto", attn_implementation="sdpa", local_files_only=True
        )
    except (OSError, ValueError) as error:
        raise BadSettings(
            f"no model can be read from {base} ({error}); give the folder that the engine serves"
        ) from error
    _refuse_unservable_targets(model, settings)
    model.config.use_cache = False
    config = peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=list(settings.targets) or _EVERY_LINEAR_LAYER,
    )
    config._register_custom_module({torch.nn.Linear: _Layer})
    with seeded(seed):
        made = peft.get_peft_model(model, config)
    if resume is not None:
        _restore(made, resume)
    if settings.checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    _check_head(made.eval())
    return made.train()


def shape(folder: Path, max_rank: int = 16) -> LoraSettings:
    """Settings with which `build` resumes the adapter in a folder of peft's format. Raises CheckpointError."""
    try:
        config: dict[str, Any] = json.loads((folder / CONFIG).read_text())
        targets = config["target_modules"]
        return LoraSettings(
            rank=config["r"],
            alpha=config["lora_alpha"],
            targets=() if isinstance(targets, str) else tuple(sorted(targets)),
            max_rank=max_rank,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder} holds no adapter in peft's format ({error}); give another folder") from error


def save(model: peft.PeftModel, folder: Path, base_name: str) -> None:
    """Write the adapter, and nothing else, as peft and the engine read it: `adapter_config.json` and
    `adapter_model.safetensors`. `base_name` is the path by which the engine serves the base model."""
    folder.mkdir(parents=True, exist_ok=True)
    config = model.peft_config[_NAME].to_dict()
    config |= {"base_model_name_or_path": base_name, "inference_mode": True}
    if isinstance(config["target_modules"], set):
        config["target_modules"] = sorted(config["target_modules"])
    (folder / CONFIG).write_text(json.dumps(config, indent=1, sort_keys=True, default=str) + "\n")
    (folder / WEIGHTS).write_bytes(serialised(weights(model), {"format": "pt"}))


def weights(model: peft.PeftModel) -> dict[str, Tensor]:
    """The adapter's tensors by the names that peft's files have."""
    found: dict[str, Tensor] = peft.get_peft_model_state_dict(model, save_embedding_layers=False)
    return {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(found.items())}


def trained(model: peft.PeftModel) -> dict[str, Tensor]:
    """The parameters that learn, by name, always in the same order."""
    return {name: parameter for name, parameter in sorted(model.named_parameters()) if parameter.requires_grad}


def hidden(model: peft.PeftModel, input_ids: Tensor) -> Tensor:
    """States before the head, [B, T, H], for ids [B, T] padded on the right with anything: attention is causal, so
    no token sees the padding behind it, and no mask is needed."""
    decoder = model.get_base_model().get_decoder()
    states: Tensor = decoder(input_ids=input_ids, use_cache=False).last_hidden_state
    return states


def head(model: peft.PeftModel) -> Tensor:
    """Weight of the frozen LM head, [V, H]."""
    weight: Tensor = model.get_base_model().get_output_embeddings().weight
    return weight


def logprobs(
    model: peft.PeftModel, batch: Batch, *, reference: bool = False, chunk_bytes: int = _CHUNK_BYTES
) -> Tensor:
    """log p of the batch's wanted tokens, float32 [N], in the batch's order. `reference`: of the base model alone,
    without gradient. `chunk_bytes`: of the float32 logits that exist at the same time."""
    with torch.no_grad() if reference else nullcontext(), _without_adapter(model) if reference else nullcontext():
        states = hidden(model, batch.input_ids).flatten(0, 1)[batch.positions]
        made: Tensor = _ChosenLogprobs.apply(states, head(model), batch.targets, chunk_bytes)
    return made


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """torch's random numbers from `seed` inside, and as if nothing had happened after it."""
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield


@contextmanager
def _without_adapter(model: peft.PeftModel) -> Iterator[None]:
    """`PeftModel.disable_adapter`, which would also switch gradients of the adapter off and on."""
    layers = [module for module in model.modules() if isinstance(module, _Layer)]
    for layer in layers:
        layer.silent = True
    try:
        yield
    finally:
        for layer in layers:
            layer.silent = False


def _refuse_unservable_targets(model: Any, settings: LoraSettings) -> None:
    """Heads and embeddings cannot be served, and only linear layers can have an adapter."""
    kinds: dict[str, set[type]] = {}
    for name, module in model.named_modules():
        kinds.setdefault(name.rpartition(".")[2], set()).add(type(module))
    outside = {
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if module in (model.get_output_embeddings(), model.get_input_embeddings())
    }
    linear = sorted(name for name, types in kinds.items() if types == {torch.nn.Linear} and name not in outside)
    for target in settings.targets:
        if target in outside:
            raise BadSettings(f"lora.targets: the engine cannot serve an adapter on {target}; choose among {linear}")
        if target not in linear:
            raise BadSettings(f"lora.targets: this model has no linear layers named {target}; choose among {linear}")


def _restore(model: peft.PeftModel, folder: Path) -> None:
    """Put saved tensors in the place of the fresh ones. Raises CheckpointError if any is missing, other or broken."""
    try:
        config = json.loads((folder / CONFIG).read_text())
        saved = load_file(folder / WEIGHTS)
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{folder} holds no whole adapter ({error}); resume from another checkpoint") from error
    except Exception as error:  # safetensors has an exception of its own, which derives from nothing else
        raise CheckpointError(f"{folder / WEIGHTS} is broken ({error}); resume from another checkpoint") from error
    for name, what in _UNSERVABLE.items():
        if config.get(name):
            raise CheckpointError(f"{folder}: {name}: the engine cannot serve {what}; train a plain LoRA adapter")
    if config.get("bias", "none") != "none":
        raise CheckpointError(f"{folder}: bias: the engine cannot serve a trained bias; train a plain LoRA adapter")
    fresh = model.peft_config[_NAME]
    scales = (config["r"], config["lora_alpha"]), (fresh.r, fresh.lora_alpha)
    shapes = [{name: tuple(tensor.shape) for name, tensor in some.items()} for some in (saved, weights(model))]
    if shapes[0] != shapes[1] or scales[0] != scales[1]:
        raise CheckpointError(
            f"{folder} holds an adapter of rank {scales[0][0]} and alpha {scales[0][1]} on {_layers(shapes[0])}, but "
            f"the settings ask for rank {scales[1][0]} and alpha {scales[1][1]} on {_layers(shapes[1])}; resume "
            "with the settings that it was trained with"
        )
    peft.set_peft_model_state_dict(model, saved)


def _layers(names: Mapping[str, object]) -> list[str]:
    return sorted({name.rpartition(".lora_")[0].rpartition(".")[2] or name for name in names})


def _check_head(model: peft.PeftModel) -> None:
    """Whether hidden states times the head are the model's logits: some models scale or cap them, or have a bias."""
    ids = torch.arange(4, device=model.device)[None]
    with torch.no_grad():
        wanted = model(input_ids=ids).logits.float()
        found = functional.linear(hidden(model, ids), head(model)).float()
    if not torch.allclose(wanted, found, rtol=1e-2, atol=1e-2):
        raise BadSettings(
            f"{model.config.model_type} models change their logits after the head; they cannot be trained"
        )


class _Layer(Linear):  # type: ignore[misc]
    """A linear layer with its adapter, in one operation."""

    silent = False
    """Whether the adapter is left out."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if self.silent or self.disable_adapters or self.merged:
            plain: Tensor = self.base_layer(x)
            return plain
        if not isinstance(self.lora_dropout[_NAME], torch.nn.Identity):
            slow: Tensor = super().forward(x, *args, **kwargs)
            return slow
        base = self.base_layer
        down, up = self.lora_A[_NAME].weight, self.lora_B[_NAME].weight
        made: Tensor = _Adapted.apply(x, base.weight, base.bias, down, up, self.scaling[_NAME])
        return made


class _Adapted(torch.autograd.Function):  # type: ignore[misc]
    """x W' + bias + scale (x A') B', for a frozen W of any float type and float32 A [r, in] and B [out, r]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        inner = rows @ a.to(x.dtype).t()
        out = functional.linear(rows, weight, bias)
        out.addmm_(inner, b.to(x.dtype).t(), alpha=scale)
        ctx.save_for_backward(x, inner, weight, a, b)
        ctx.scale = scale
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, inner, weight, a, b = ctx.saved_tensors
        grad = grads[0].reshape(-1, grads[0].shape[-1])
        rows = x.reshape(-1, x.shape[-1])
        grad_b = (grad.t() @ inner).float().mul_(ctx.scale)
        grad_inner = (grad @ b.to(x.dtype)).mul_(ctx.scale)
        grad_a = (grad_inner.t() @ rows).float()
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = (grad @ weight).addmm_(grad_inner, a.to(x.dtype)).view_as(x)
        return grad_x, None, None, grad_a, grad_b, None


class _ChosenLogprobs(torch.autograd.Function):  # type: ignore[misc]
    """log_softmax(h W')[target], float32 [N], for states h [N, H], a frozen W [V, H] and targets [N].

    d log p / d h = W[target] - softmax(h W') W does not depend on what comes after: it is computed on the way forward,
    while the logits exist, and kept in their place."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, targets: Tensor, chunk_bytes: int) -> Tensor:
        wanted = ctx.needs_input_grad[0]
        made = states.new_empty(len(states), dtype=torch.float32)
        slopes = torch.empty_like(states) if wanted else None
        size = max(1, chunk_bytes // (4 * len(weight)))
        for start in range(0, len(states), size):
            part = slice(start, start + size)
            chosen = targets[part, None]
            logits = (states[part] @ weight.t()).float()
            total = logits.logsumexp(1, keepdim=True)
            made[part] = (logits.gather(1, chosen) - total).squeeze(1)
            if slopes is not None:
                share = logits.sub_(total).exp_().neg_()
                share.scatter_add_(1, chosen, torch.ones_like(chosen, dtype=share.dtype))
                slopes[part] = share.to(weight.dtype) @ weight
        ctx.save_for_backward(slopes)
        return made

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, None, None, None]:
        (slopes,) = ctx.saved_tensors
        return (grads[0][:, None] * slopes).to(slopes.dtype), None, None, None
