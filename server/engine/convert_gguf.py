"""GGUF file -> safetensors folder that vLLM, transformers and training read alike.

A script, never imported by the server: it runs under the engine environment's interpreter, which has torch,
transformers, gguf and accelerate. It writes into an empty folder and speaks JSON lines on stdout:
`{"stage": "..."}` while it works and `{"report": {...}}` at the end. Publishing the folder is the caller's business
(`library.py`).

What a GGUF file does not say, or transformers does not take from it, is mended here:

- Pre-tokenisation. transformers knows some of llama.cpp's names for the rule that splits text before BPE and treats the
  others like GPT-2; a wrong rule silently shifts every number and every prompt away from what the model was trained on.
- End of answer. GGUF names one end token; chat models with fill-in-the-middle also end on `<|endoftext|>`. The ids are
  collected by name, as llama.cpp does.
- Tied embeddings. Quantisers store the output matrix again, with finer rounding, though the model has only one; the
  finer one is then used for both ends, as in the original, which saves its size in memory and on disk.
- Sampling. `generation_config.json` gets token ids only, so that nothing but the request decides how to sample.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import torch
import transformers
from gguf import GGUFReader
from tokenizers import normalizers, pre_tokenizers

DIGITS_APART = frozenset({"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"})
"""llama.cpp's pre-tokenizers that are GPT-2's after cutting every digit out on its own."""

NORMALISED = frozenset({"qwen2", "qwen35", "deepseek-r1-qwen"})
"""Pre-tokenizers whose original tokenizer normalises text to NFC first; llama.cpp leaves that to the caller."""

END_TOKENS = ("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>", "<end_of_turn>", "<|end|>", "<EOT>")
"""Control tokens that end an answer whatever `eos_token_id` says."""

CONTROL, USER_DEFINED = 3, 4

SNIPPET = "def add(a, b):\n    return a + b\n\n\ndef is_even(n):\n    return n % 2 == 0\n"
"""Text that any language model finds likely: the converted model must, too."""


class Unusable(Exception):
    """The file cannot become a model that answers sensibly; the message says what is wrong."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("gguf", type=Path)
    parser.add_argument("target", type=Path, help="existing, empty folder")
    arguments = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    try:
        report = convert(arguments.gguf.resolve(), arguments.target)
    except Unusable as error:
        raise SystemExit(f"convert_gguf: {error}") from None
    say(report=report)


def convert(gguf: Path, target: Path) -> dict[str, Any]:
    """Write model and tokenizer of `gguf` into `target`; return what was found out about them."""
    say(stage="reading")
    reader = GGUFReader(gguf)
    architecture = reader.get_field("general.architecture").contents()
    fields = {key: reader.get_field(key).contents() for key in reader.fields if key.startswith("tokenizer.")}
    tokens, kinds = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    special = {text: i for i, (text, kind) in enumerate(zip(tokens, kinds, strict=True)) if kind == CONTROL}
    whole = special | {t: i for i, (t, kind) in enumerate(zip(tokens, kinds, strict=True)) if kind == USER_DEFINED}

    say(stage="tokenizer")
    tokenizer = transformers.AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    mend_tokenizer(tokenizer, fields)
    tokenizer.model_max_length = int(reader.get_field(f"{architecture}.context_length").contents())
    tokenizer.save_pretrained(target)
    tokenizer = transformers.AutoTokenizer.from_pretrained(target)
    check_tokenizer(tokenizer, whole, fields)

    say(stage="weights")
    model = transformers.AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        dtype=torch.bfloat16,
        quantization_config=transformers.GgufConfig(gguf_file=gguf.name, dequantize=True),
    )
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config  # the weights are plain bf16 now, and must be saved as such
    model.hf_quantizer = None
    tie(model)
    eos = fields["tokenizer.ggml.eos_token_id"]
    ends = [eos] + [special[text] for text in END_TOKENS if special.get(text, eos) != eos]
    model.config.eos_token_id = eos
    model.config.pad_token_id = tokenizer.pad_token_id
    model.config.bos_token_id = fields.get("tokenizer.ggml.bos_token_id")
    model.generation_config = transformers.GenerationConfig(
        eos_token_id=ends, pad_token_id=tokenizer.pad_token_id, bos_token_id=model.config.bos_token_id
    )
    before = log_probabilities(model, tokenizer)
    say(stage="writing")
    model.save_pretrained(target)
    for file in target.iterdir():
        file.chmod(0o644)  # safetensors writes 0600, which hides the model from an engine run by another user
    del model

    say(stage="checking")
    model = transformers.AutoModelForCausalLM.from_pretrained(target, dtype=torch.bfloat16)
    after = log_probabilities(model, tokenizer)
    if not torch.equal(before, after):
        raise Unusable(f"saved weights answer differently: off by {(before - after).abs().max().item():.3g}")
    mean, blind = after.mean().item(), -math.log(len(tokenizer))
    if not math.isfinite(mean) or mean < blind / 2:
        raise Unusable(f"mean log-probability {mean:.2f} of plain code; guessing blindly gives {blind:.2f}")
    return {
        "mean_log_probability": round(mean, 4),
        "parameters": sum(p.numel() for p in model.parameters()),
        "eos_token_ids": ends,
        "transformers": transformers.__version__,
    }


def tie(model: Any) -> None:
    """Make the embedding the output matrix if both are roundings of one matrix: rows point the same way."""
    inputs, outputs = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    if inputs is outputs or inputs.shape != outputs.shape:
        return
    rows = slice(None, None, max(1, len(inputs) // 4096))
    alike = torch.nn.functional.cosine_similarity(inputs[rows].float(), outputs[rows].float()).median()
    if alike > 0.98:
        inputs.data.copy_(outputs.data)
        model.config.tie_word_embeddings = True
        model.tie_weights()


def mend_tokenizer(tokenizer: Any, fields: dict[str, Any]) -> None:
    """Give `tokenizer` the splitting and normalising rules that its GGUF metadata name but transformers left out."""
    rule = fields.get("tokenizer.ggml.pre")
    backend = tokenizer.backend_tokenizer
    if rule in DIGITS_APART:
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    if rule in NORMALISED:
        backend.normalizer = normalizers.NFC()
    if not tokenizer.chat_template:
        raise Unusable("it carries no chat template, so it cannot be served as a chat model")


def check_tokenizer(tokenizer: Any, whole: dict[str, int], fields: dict[str, Any]) -> None:
    """Raise Unusable unless `tokenizer` keeps special tokens whole, survives a round trip and renders a chat."""
    broken = [text for text, i in whole.items() if tokenizer.encode(text, add_special_tokens=False) != [i]]
    if broken:
        raise Unusable(f"special tokens do not stay whole: {broken[:5]}")
    if tokenizer.eos_token_id != fields["tokenizer.ggml.eos_token_id"]:
        raise Unusable(f"end token is {tokenizer.eos_token_id}, not {fields['tokenizer.ggml.eos_token_id']}")
    ids = tokenizer.encode(SNIPPET)
    if fields.get("tokenizer.ggml.add_bos_token") is False and ids[0] in whole.values():
        raise Unusable("it adds a start token that the file forbids")
    if tokenizer.decode(ids, skip_special_tokens=True) != SNIPPET:
        raise Unusable("text does not survive encoding and decoding")
    chat = [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}]
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    if not text.index("S") < text.index("U"):
        raise Unusable("its chat template drops the system message")


@torch.inference_mode()
def log_probabilities(model: Any, tokenizer: Any) -> torch.Tensor:
    """Log-probability of every token of SNIPPET after the first, shape (tokens - 1,)."""
    ids = torch.tensor([tokenizer.encode(SNIPPET)])
    logits = model.eval()(ids).logits[0, :-1].float()
    return logits.log_softmax(-1).gather(-1, ids[0, 1:, None])[:, 0]


def say(**message: object) -> None:
    print(json.dumps(message), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
